import type { ImportModelRequest, ModelMetadata } from "@sallyport/proto/sallyport/governance/v1/models";
import { AppError, type CallerIdentity, type OutboxMessage } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, personOf } from "../core/authorise.ts";
import { modelView } from "../core/views.ts";
import { findModel, insertModel } from "../db/models.ts";
import { type ModelFacts, type ModelState, type RegisteredModel, readMetadata } from "../domain/model.ts";
import { auditEvent } from "../events.ts";

/** Without a word on it a model gets what it was made for, and at most this much: context takes memory. */
const defaultContextTokens = 4_096;

/** The file's bytes arrive, and nothing is approved by it. */
export async function importModel(
  context: Context,
  caller: CallerIdentity,
  parts: AsyncIterable<ImportModelRequest>,
  signal: AbortSignal,
) {
  const stream = parts[Symbol.asyncIterator]();
  const metadata = readMetadata(await firstPart(stream));
  authorise(context, caller, "model.import", { platform: true, model: metadata.name, tier: metadata.tier });
  if (metadata.digest !== "") await refuseKnown(context, metadata.digest);
  const stored = await receive(context, metadata, chunksOf(stream, signal));
  const model: RegisteredModel = {
    ...metadata,
    ...stored,
    state: "imported" satisfies ModelState,
    importer: personOf(caller),
    importedBy: caller.subject,
    importedAt: context.clock.now(),
    decidedBy: "",
    decidedAt: null,
  };
  await context.outbox.commit(async (tx) => {
    if (!(await insertModel(tx, model))) throw known();
    const { name, version, digest, engine, sizeBytes } = model;
    const detail = { name, version, digest, engine, sizeBytes };
    const messages: OutboxMessage[] = [auditEvent({ event: "model.imported", actor: caller, detail })];
    return { value: undefined, messages };
  });
  context.log.info({ name: model.name, version: model.version, digest: model.digest }, "model imported");
  return { model: modelView(model) };
}

async function firstPart(stream: AsyncIterator<ImportModelRequest>): Promise<ModelMetadata> {
  const first = await stream.next();
  if (!first.done && first.value.part.case === "metadata") return first.value.part.value;
  throw new AppError("INVALID_ARGUMENT", "the first message is the metadata", { reason: "METADATA_FIRST" });
}

async function* chunksOf(stream: AsyncIterator<ImportModelRequest>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = await stream.next();
    signal.throwIfAborted();
    if (next.done) return;
    const { part } = next.value;
    if (part.case !== "chunk") {
      throw new AppError("INVALID_ARGUMENT", "after the metadata come chunks", { reason: "CHUNK_EXPECTED" });
    }
    yield part.value;
  }
}

async function receive(
  { store }: Context,
  metadata: ModelFacts & { digest: string },
  chunks: AsyncGenerator<Uint8Array>,
) {
  if (metadata.engine === "llama") {
    const { digest, sizeBytes, facts } = await store.receive(chunks, metadata.digest);
    const trained = facts.contextLength;
    if (trained !== undefined && metadata.contextTokens > trained) {
      const message = `the model was made for ${trained} tokens of context`;
      throw new AppError("INVALID_ARGUMENT", message, {
        reason: "INVALID_FIELD",
        details: { field: "context_tokens" },
      });
    }
    const contextTokens = metadata.contextTokens || Math.min(trained ?? defaultContextTokens, defaultContextTokens);
    return { digest, sizeBytes, contextTokens };
  }
  // A remote model's weights are where it is served: only their digest is registered.
  for await (const _ of chunks)
    throw new AppError("INVALID_ARGUMENT", "a remote model has no file here", { reason: "CHUNK_UNEXPECTED" });
  return { digest: metadata.digest, sizeBytes: 0, contextTokens: metadata.contextTokens };
}

/** Before gigabytes are sent in vain. */
async function refuseKnown({ db }: Context, digest: string): Promise<void> {
  const model = await findModel(db, digest);
  if (model?.state === "revoked") {
    throw new AppError("FAILED_PRECONDITION", "the model is revoked for good", { reason: "MODEL_REVOKED" });
  }
  if (model) throw known();
}

function known(): AppError {
  return new AppError("ALREADY_EXISTS", "this model, or this name and version, is registered already", {
    reason: "MODEL_EXISTS",
  });
}
