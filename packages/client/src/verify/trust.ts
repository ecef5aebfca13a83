/** What the caller trusts: the operator's key, and the bundle signed with it. */
import { KeyObject } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { loadTrustBundle, readRootKey, type TrustBundle } from "@sallyport/attestation";
import { SallyportError } from "../errors.ts";

export interface TrustInput {
  /** The trust bundle (DSSE JSON): a path, or its contents. A path is read again when the file changes. */
  trustBundle: string | Uint8Array;
  /** The operator's public key (SPKI PEM): a path, its text, or the key. Everything rests on it: bring your own copy. */
  trustRoot: string | KeyObject;
}

/** The bundle as it is now; throws FAILED_PRECONDITION (TRUST_INVALID) when there is none that may be believed. */
export type TrustSource = () => TrustBundle;

/** Reads both at once, so that a wrong one is known before anything is sent. */
export function trustSource({ trustBundle, trustRoot }: TrustInput): TrustSource {
  const root = refusing("the operator's public key", () => rootKey(trustRoot));
  const path = typeof trustBundle === "string" && !trustBundle.trimStart().startsWith("{") ? trustBundle : undefined;
  const load = (lowest?: number) =>
    refusing("the trust bundle", () => {
      const bytes = path === undefined ? trustBundle : readFileSync(path);
      return loadTrustBundle(bytes, root, new Date(), lowest);
    });
  let seenAt = path === undefined ? 0 : modified(path);
  let current = load();
  return () => {
    const changedAt = path === undefined ? 0 : modified(path);
    if (changedAt !== seenAt) {
      // Keys rotate; an older bundle would bring back keys that were taken away.
      current = load(current.version);
      seenAt = changedAt;
    }
    return current;
  };
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function rootKey(root: string | KeyObject): KeyObject {
  if (root instanceof KeyObject) return root;
  return readRootKey(root.includes("-----BEGIN") ? root : readFileSync(root, "utf8"));
}

function refusing<T>(what: string, load: () => T): T {
  try {
    return load();
  } catch (cause) {
    throw new SallyportError("FAILED_PRECONDITION", `${what} cannot be used: ${(cause as Error).message}`, {
      reason: "TRUST_INVALID",
      cause,
    });
  }
}
