import { createPublicKey } from "node:crypto";
import { loadTrustBundle, type TrustBundle } from "@sallyport/attestation";
import { type Context, readInput } from "./context.ts";
import { UsageError } from "./exit-codes.ts";

export interface TrustOptions {
  trustBundle?: string;
  trustRoot?: string;
}

/**
 * The trust bundle of --trust-bundle and --trust-root, or of the platform's home. The root key is what everything rests
 * on: who verifies for themselves brings their own copy.
 */
export function trustOf(context: Context, { trustBundle, trustRoot }: TrustOptions): TrustBundle {
  const given = [trustBundle, trustRoot].filter((path) => path !== undefined).length;
  if (given === 1) throw new UsageError("--trust-bundle and --trust-root belong together");
  const endpoints = given === 0 ? context.endpoints() : undefined;
  const bundle = readInput(trustBundle ?? context.file(endpoints!.trustBundleFile));
  const rootFile = trustRoot ?? context.file(endpoints!.trustRootFile);
  return loadTrustBundle(bundle, rootKey(readInput(rootFile).toString("utf8"), rootFile), new Date());
}

function rootKey(pem: string, file: string) {
  try {
    if (!pem.includes("BEGIN PUBLIC KEY")) throw new Error("no public key");
    return createPublicKey(pem);
  } catch {
    throw new UsageError(`${file} is not a public key (SPKI PEM)`);
  }
}
