/** A model in the registry: its metadata, its states, and what the signed manifest says of it. */
import type { Json } from "@sallyport/attestation";
import type { ModelMetadata } from "@sallyport/proto/sallyport/governance/v1/models";
import { AppError } from "@sallyport/runtime";

export type ModelState = "imported" | "approved" | "revoked";
export type Engine = "llama" | "remote";

export interface ModelFacts {
  name: string;
  version: string;
  engine: Engine;
  licence: string;
  tier: string;
  contextTokens: number;
  card: string;
  remoteEndpoint: string;
  remoteModel: string;
}

export interface RegisteredModel extends ModelFacts {
  digest: string;
  sizeBytes: number;
  state: ModelState;
  /** "<issuer> <subject>". */
  importer: string;
  importedBy: string;
  importedAt: Date;
  decidedBy: string;
  decidedAt: Date | null;
}

const nameForm = /^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/;
const digestForm = /^[0-9a-f]{64}$/;
const maxCardCharacters = 100_000;
const maxContextTokens = 2 ** 20;

/** Throws INVALID_ARGUMENT naming the field. `digest` is empty where the file shall say it. */
export function readMetadata(metadata: ModelMetadata): ModelFacts & { digest: string } {
  const { name, version, engine, licence, tier, contextTokens, card, remoteEndpoint, remoteModel, digest } = metadata;
  const must = (holds: boolean, field: string, problem: string) => {
    if (!holds)
      throw new AppError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "INVALID_FIELD", details: { field } });
  };
  must(nameForm.test(name), "name", "is 1 to 64 letters, digits, dots and dashes");
  must(nameForm.test(version), "version", "is 1 to 64 letters, digits, dots and dashes");
  must(engine === "llama" || engine === "remote", "engine", "is llama or remote");
  must(/^[^\p{C}]{1,128}$/u.test(licence), "licence", "is missing or too long");
  must(/^[a-z0-9-]{1,32}$/.test(tier), "tier", "is a policy tier, such as small");
  must(contextTokens <= maxContextTokens, "context_tokens", "is 1 to 1048576");
  must(contextTokens >= 1 || engine === "llama", "context_tokens", "of a remote model is needed");
  must(card.length > 0 && card.length <= maxCardCharacters, "card", "is a text of at most 100000 characters");
  must(digest === "" || digestForm.test(digest), "digest", "is 64 lower-case hex digits");
  const remote = engine === "remote";
  must(!remote || digest !== "", "digest", "of the weights as served is needed for a remote model");
  must(
    /^[a-z0-9-]{1,64}$/.test(remoteEndpoint) === remote,
    "remote_endpoint",
    remote ? "is a configured name" : "is for remote models",
  );
  must(
    /^[^\s\p{C}]{1,128}$/u.test(remoteModel) === remote,
    "remote_model",
    remote ? "is the server's name of it" : "is for remote models",
  );
  return {
    name,
    version,
    engine: engine as Engine,
    licence,
    tier,
    contextTokens,
    card,
    remoteEndpoint,
    remoteModel,
    digest,
  };
}

/** Throws FAILED_PRECONDITION, or PERMISSION_DENIED for the person who imported it. */
export function checkApproval(model: RegisteredModel, approver: string): void {
  if (model.state !== "imported") throw wrongState(model);
  if (model.importer === approver) {
    throw new AppError("PERMISSION_DENIED", "whoever imported a model does not approve it; ask a second person", {
      reason: "SAME_PERSON",
    });
  }
}

export function checkRevocation(model: RegisteredModel): void {
  if (model.state === "revoked") throw wrongState(model);
}

function wrongState({ state }: RegisteredModel): AppError {
  const reason = `MODEL_${state.toUpperCase()}`;
  const message = state === "revoked" ? "the model is revoked for good" : `the model is ${state} already`;
  return new AppError("FAILED_PRECONDITION", message, { reason });
}

/** The value of key `manifest`: approved models only, by name. */
export function manifestOf(models: readonly RegisteredModel[]): { models: Json[] } {
  const approved = models.filter(({ state }) => state === "approved");
  return { models: approved.sort((a, b) => (a.name < b.name ? -1 : 1)).map(manifestEntry) };
}

function manifestEntry(model: RegisteredModel): Json {
  const { name, version, digest, engine, sizeBytes, contextTokens, tier, licence } = model;
  const remote = { remoteEndpoint: model.remoteEndpoint, remoteModel: model.remoteModel };
  return {
    ...{ name, version, digest, engine, sizeBytes, contextTokens, tier, licence },
    approvedAt: model.decidedAt!.toISOString(),
    ...(engine === "remote" && remote),
  };
}
