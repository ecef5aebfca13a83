/** The approved models, as governance signs them (bucket `models`, key `manifest`). A model that is absent is not approved. */

export interface ApprovedModel {
  name: string;
  version: string;
  /** Hex SHA-256 of the file; for remote models of the weights as served. */
  digest: string;
  engine: "llama" | "remote";
  sizeBytes: number;
  contextTokens: number;
  tier: string;
  /** Name of an endpoint in the worker's configuration, and the model's name there. Remote models only. */
  remote?: { endpoint: string; model: string };
}

export interface Manifest {
  models: readonly ApprovedModel[];
}

const maxModels = 1_000;
const maxContextTokens = 2 ** 20;

/** Throws TypeError naming the field; models of engines that this worker does not have are left out. */
export function readManifest(value: unknown): Manifest {
  const { models } = objectOf(value, "manifest");
  if (!Array.isArray(models) || models.length > maxModels) throw new TypeError("manifest.models is not a short list");
  const read = models.map((model, i) => readModel(objectOf(model, `models[${i}]`), `models[${i}]`));
  return { models: read.filter((model) => model !== undefined) };
}

function readModel(model: Record<string, unknown>, field: string): ApprovedModel | undefined {
  const { engine } = model;
  if (engine !== "llama" && engine !== "remote") return undefined;
  const contextTokens = countOf(model.contextTokens, `${field}.contextTokens`);
  if (contextTokens < 1 || contextTokens > maxContextTokens)
    throw new TypeError(`${field}.contextTokens is no context`);
  const digest = textOf(model.digest, `${field}.digest`);
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new TypeError(`${field}.digest is not a SHA-256`);
  return {
    name: textOf(model.name, `${field}.name`),
    version: textOf(model.version, `${field}.version`),
    digest,
    engine,
    sizeBytes: countOf(model.sizeBytes, `${field}.sizeBytes`),
    contextTokens,
    tier: textOf(model.tier, `${field}.tier`),
    ...(engine === "remote" && { remote: readRemote(model, field) }),
  };
}

function readRemote(model: Record<string, unknown>, field: string): ApprovedModel["remote"] {
  const endpoint = textOf(model.remoteEndpoint, `${field}.remoteEndpoint`);
  return { endpoint, model: textOf(model.remoteModel, `${field}.remoteModel`) };
}

function objectOf(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${field} is not an object`);
  return value as Record<string, unknown>;
}

function textOf(value: unknown, field: string): string {
  if (typeof value !== "string" || value === "" || value.length > 256)
    throw new TypeError(`${field} is not a short text`);
  return value;
}

function countOf(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError(`${field} is not a count`);
  return value as number;
}
