import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import { GenerationService, ListModelsResponseSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  ListModelsResponseSchema as ListRegisteredSchema,
  type Model,
  type ModelMetadata,
  ModelSchema,
  ModelService,
  ModelStateSchema,
} from "@sallyport/proto/sallyport/governance/v1/models";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { enumName, table } from "../describe.ts";
import { UsageError } from "../exit-codes.ts";
import { digest, integer } from "../parse.ts";
import type { Act } from "../program.ts";

const chunkBytes = 1024 * 1024;
const importTimeoutSeconds = 3_600;

interface ImportOptions {
  name: string;
  version: string;
  tier: string;
  engine: string;
  licence: string;
  contextTokens?: number;
  card: string;
  digest?: string;
  remoteEndpoint?: string;
  remoteModel?: string;
}

export function addModelCommands(program: Command, act: Act): void {
  act(program.command("models").description("models that may be asked"), listModels);
  const group = program.command("model").description("the registry: import, approve (by a second person), revoke");
  act(group.command("list").description("every model, with its state"), listRegistered);
  const importCommand = group
    .command("import [file]")
    .description("bring in a model; nothing is approved by it")
    .requiredOption("--name <name>", "what callers send as `model`")
    .requiredOption("--version <version>")
    .option("--tier <tier>", "policy tier", "small")
    .option("--engine <engine>", "llama (GGUF file) or remote (a server inside the chamber; no file)", "llama")
    .requiredOption("--licence <licence>", "SPDX id of the weights' licence")
    .option(
      "--context-tokens <n>",
      "context length (of a GGUF file: what it was made for, at most 4096)",
      integer(1, 10_000_000),
    )
    .requiredOption("--card <file>", "model card (Markdown): what it is for, and what not")
    .option("--digest <sha256>", "expected digest; for remote that of the weights as served", digest)
    .option("--remote-endpoint <name>", "remote: endpoint's name in the worker's configuration")
    .option("--remote-model <name>", "remote: model's name there");
  act(importCommand, importModel);
  const decide = (verb: "approve" | "revoke", description: string, caller: string) => {
    const command = group
      .command(verb)
      .argument("<digest>", "SHA-256 of the model", digest)
      .description(description)
      .requiredOption("--justification <text>", "why; kept in the registry");
    act(command, (context, hex: string, { justification }: { justification: string }) =>
      decideModel(context, verb, caller, { digest: hex, justification }),
    );
  };
  decide("approve", "let it run; refused for the person who imported it", "approver");
  decide("revoke", "stop it at once, for good", "operator");
}

async function listModels(context: Context): Promise<void> {
  const call = context.options("user");
  const response = await context.call("gateway", GenerationService, (client) => client.listModels({}, call));
  context.print(toJson(ListModelsResponseSchema, response), () => {
    const rows = response.models.map((m) => [m.name, m.version, m.engine, m.tier, `${m.contextTokens}`, m.digest]);
    return table([["NAME", "VERSION", "ENGINE", "TIER", "CONTEXT", "DIGEST"], ...rows]);
  });
}

async function listRegistered(context: Context): Promise<void> {
  const call = context.options("operator");
  const response = await context.call("governance", ModelService, (client) => client.listModels({}, call));
  context.print(toJson(ListRegisteredSchema, response), () => [
    ...table([["NAME", "VERSION", "STATE", "IMPORTED BY", "DECIDED BY", "DIGEST"], ...response.models.map(rowOf)]),
    `manifest version ${response.manifestVersion}`,
  ]);
}

function rowOf({ metadata, state, importedBy, decidedBy, digest: hex }: Model): string[] {
  const { name = "", version = "" } = metadata ?? {};
  return [name, version, enumName(ModelStateSchema, state), importedBy, decidedBy || "-", hex];
}

async function importModel(context: Context, file: string | undefined, options: ImportOptions): Promise<void> {
  const remote = options.engine === "remote";
  if (remote === (file !== undefined)) {
    throw new UsageError(remote ? "a remote model has no file" : "name the model's file");
  }
  if (remote && !(options.digest && options.remoteEndpoint && options.remoteModel)) {
    throw new UsageError("a remote model needs --digest, --remote-endpoint and --remote-model");
  }
  const call = context.options("operator", importTimeoutSeconds);
  // Hashed here first: what arrives must be what was read.
  const found = file === undefined ? options.digest! : await digestOf(file);
  if (options.digest !== undefined && options.digest !== found) {
    throw new UsageError(`the file's digest is ${found}, not the expected one`);
  }
  const metadata = {
    name: options.name,
    version: options.version,
    engine: options.engine,
    digest: found,
    licence: options.licence,
    tier: options.tier,
    contextTokens: options.contextTokens ?? 0,
    card: readFileSync(options.card, "utf8"),
    remoteEndpoint: options.remoteEndpoint ?? "",
    remoteModel: options.remoteModel ?? "",
  };
  const { model } = await context.call("governance", ModelService, (client) =>
    client.importModel(partsOf(metadata, file), call),
  );
  printModel(
    context,
    model,
    `imported; another person approves it: sallyport model approve ${found} --justification …`,
  );
}

async function* partsOf(metadata: Omit<ModelMetadata, "$typeName">, file: string | undefined) {
  yield { part: { case: "metadata" as const, value: metadata } };
  if (file === undefined) return;
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) {
    yield { part: { case: "chunk" as const, value: chunk as Buffer } };
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) hash.update(chunk as Buffer);
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
  return hash.digest("hex");
}

async function decideModel(
  context: Context,
  verb: "approve" | "revoke",
  caller: string,
  request: { digest: string; justification: string },
): Promise<void> {
  const call = context.options(caller);
  const model = await context.call("governance", ModelService, async (client) => {
    const response =
      verb === "approve" ? await client.approveModel(request, call) : await client.revokeModel(request, call);
    return response.model;
  });
  printModel(context, model, verb === "approve" ? "approved" : "revoked");
}

function printModel(context: Context, model: Model | undefined, what: string): void {
  context.print(model ? toJson(ModelSchema, model) : {}, () => [
    ...(model ? [`${model.metadata?.name} ${model.metadata?.version} ${model.digest}`] : []),
    what,
  ]);
}
