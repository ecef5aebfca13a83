/** The mounted policy bundle: tested with its own tests, then signed and published when it is a new one. */
import type { Json } from "@sallyport/attestation";
import {
  bundleDigest,
  loadBundle,
  type PolicyBundle,
  PolicyError,
  policyToState,
  runBundleTests,
} from "@sallyport/policy";
import { AppError } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { listStates } from "../db/signed-state.ts";
import { auditEvent } from "../events.ts";
import { putNow, signNext } from "./signed-state.ts";
import { policyPlace } from "./signed-values.ts";

/**
 * Returns what is wrong with the bundle while an older one stays in force. With none in force nothing can be decided
 * anyway: then throws FAILED_PRECONDITION (POLICY_INVALID).
 */
export async function publishPolicy(context: Context): Promise<string | undefined> {
  const published = (await listStates(context.db)).some(({ bucket }) => bucket === policyPlace.bucket);
  try {
    await publish(context, readTested(context.config.policyBundleDir));
    return undefined;
  } catch (error) {
    if (!published || !(error instanceof PolicyError || error instanceof AppError)) throw error;
    context.log.error({ err: error }, "the policy bundle is refused; the one before it stays in force");
    return "the mounted bundle is refused";
  }
}

function readTested(dir: string): PolicyBundle {
  const bundle = loadBundle(dir);
  const failed = runBundleTests(bundle).filter(({ passed }) => !passed);
  if (failed.length === 0) return bundle;
  const names = failed.slice(0, 5).map(({ name, differences }) => `${name} (${differences.join(", ")})`);
  throw new AppError("FAILED_PRECONDITION", `${failed.length} tests of the policy bundle fail: ${names.join("; ")}`, {
    reason: "POLICY_INVALID",
  });
}

async function publish(context: Context, bundle: PolicyBundle): Promise<void> {
  const digest = bundleDigest(bundle);
  const value = policyToState(bundle) as unknown as Json;
  const published = await context.outbox.commit(async (tx) => {
    const { state, changed } = await signNext(context, tx, policyPlace, digest, value);
    const detail = { digest, version: state.version };
    return { value: state, messages: changed ? [auditEvent({ event: "policy.published", detail })] : [] };
  });
  await putNow(context, published);
}
