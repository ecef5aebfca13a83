import type { ApprovedModel, Manifest } from "./manifest.ts";

export function findApproved(manifest: Manifest, name: string, digest: string): ApprovedModel | undefined {
  return manifest.models.find((model) => model.name === name && model.digest === digest);
}

export interface TableInput {
  manifest: Manifest;
  /** Digests of files that lie in the store. */
  present: ReadonlySet<string>;
  /** Names of the endpoints that are configured. */
  endpoints: ReadonlySet<string>;
  /** Digests that have an engine now. */
  loaded: ReadonlySet<string>;
  maxModels: number;
}

export interface TablePlan {
  start: ApprovedModel[];
  /** Digests whose approval is gone: first of all. */
  stop: string[];
  /** Approved and here, but beyond the limit. */
  surplus: ApprovedModel[];
}

/** Which models can run here, and what has to change for it. One engine a digest, however many names it has. */
export function planModels({ manifest, present, endpoints, loaded, maxModels }: TableInput): TablePlan {
  const approved = new Map<string, ApprovedModel>();
  for (const model of manifest.models) if (!approved.has(model.digest)) approved.set(model.digest, model);
  const stop = [...loaded].filter((digest) => !approved.has(digest));
  const kept = loaded.size - stop.length;
  const candidates = [...approved.values()].filter((model) => !loaded.has(model.digest) && isHere(model));
  const room = Math.max(0, maxModels - kept);
  return { start: candidates.slice(0, room), stop, surplus: candidates.slice(room) };

  function isHere({ digest, remote }: ApprovedModel): boolean {
    return remote === undefined ? present.has(digest) : endpoints.has(remote.endpoint);
  }
}

/** Names whose jobs can be taken: at least one of their models has an engine. */
export function servedNames(manifest: Manifest, loaded: ReadonlySet<string>): Set<string> {
  return new Set(manifest.models.filter((model) => loaded.has(model.digest)).map((model) => model.name));
}
