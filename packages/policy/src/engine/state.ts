import { PolicyError } from "../errors.ts";
import { bundleDigest, type PolicyBundle, packBundle, unpackBundle } from "./bundle.ts";
import { PolicyEngine } from "./engine.ts";

/** The value of key `active` in bucket `policy`: what governance signs and every service watches. */
export interface PolicyState {
  digest: string;
  /** packed bundle, base64 */
  bundle: string;
}

export function policyToState(bundle: PolicyBundle): PolicyState {
  return { digest: bundleDigest(bundle), bundle: Buffer.from(packBundle(bundle)).toString("base64") };
}

/** The bundle of a signed value; throws BUNDLE_INVALID unless it has the digest that the value names. */
export function bundleFromState(value: unknown): PolicyBundle {
  const state = value as PolicyState;
  if (typeof state?.digest !== "string" || typeof state.bundle !== "string") {
    throw new PolicyError("BUNDLE_INVALID", "the policy value must hold digest and bundle");
  }
  const bundle = unpackBundle(Buffer.from(state.bundle, "base64"));
  if (bundleDigest(bundle) !== state.digest)
    throw new PolicyError("BUNDLE_INVALID", "the policy bundle has another digest");
  return bundle;
}

/** For a watcher of the bucket: a value → an engine, ready before the old one is let go. */
export function policyFromState(value: unknown): PolicyEngine {
  return PolicyEngine.create(bundleFromState(value));
}
