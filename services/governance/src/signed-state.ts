/**
 * The values that everybody watches. They are signed and stored in the transaction that changes what they say, and put
 * into their buckets from the table: right after the change, and whenever a bucket lacks its newest (looked up each second),
 * so that a wiped bus heals by itself and never by a value that the table does not hold.
 */
import { createHash } from "node:crypto";
import {
  canonicalBytes,
  decodeEnvelopeJson,
  encodeEnvelopeJson,
  type Json,
  signState,
  verifyState,
} from "@sallyport/attestation";
import { putState, type Tx } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { listAllModels } from "./db/models.ts";
import { listStates, lockState, type StoredState, saveState } from "./db/signed-state.ts";
import { manifestOf } from "./domain/model.ts";

const checkEveryMs = 1_000;
export const manifestPlace = { bucket: "models", key: "manifest" } as const;
export const policyPlace = { bucket: "policy", key: "active" } as const;

type Place = Pick<StoredState, "bucket" | "key">;

export interface Signed {
  state: StoredState;
  /** False when the newest version said the same already. */
  changed: boolean;
}

/** In the caller's transaction: the next version of a key, unless the newest says the same. */
export async function signNext(
  { stateSigner, clock }: Context,
  tx: Tx,
  place: Place,
  digest: string,
  value: Json,
): Promise<Signed> {
  const newest = await lockState(tx, place.bucket, place.key);
  if (newest?.digest === digest) return { state: newest, changed: false };
  const version = (newest?.version ?? 0) + 1;
  const issuedAt = clock.now().toISOString();
  const envelope = encodeEnvelopeJson(signState(stateSigner, { ...place, version, value, issuedAt }));
  const next = { ...place, version, digest, envelope };
  await saveState(tx, next);
  return { state: next, changed: true };
}

/** In the transaction that moved a model: the manifest as it is now. */
export async function signManifest(context: Context, tx: Tx): Promise<StoredState> {
  // The lock comes first: of two changes at once the later one reads what the earlier one stored.
  await lockState(tx, manifestPlace.bucket, manifestPlace.key);
  const manifest = manifestOf(await listAllModels(tx));
  const digest = createHash("sha256").update(canonicalBytes(manifest)).digest("hex");
  return (await signNext(context, tx, manifestPlace, digest, manifest)).state;
}

/** A change takes effect with this; when it cannot be put now, the loop puts it. */
export async function putNow({ bus, log }: Context, { bucket, key, version, envelope }: StoredState): Promise<void> {
  try {
    await putState(bus, bucket, key, envelope);
    log.info({ bucket, version }, "signed state published");
  } catch (err) {
    log.warn({ err, bucket, version }, "signed state not published yet; trying again");
  }
}

export interface SignedState extends AsyncDisposable {
  /** Why a bucket is not as it should be, if so. */
  readonly problem: string | undefined;
}

/** Signs an empty manifest at the very first start, then keeps the buckets as the table has them. */
export async function startSignedState(context: Context): Promise<SignedState> {
  await context.db.transaction((tx) => signManifest(context, tx));
  let problem: string | undefined = "not checked yet";
  let running: Promise<void> | undefined;
  const check = () => {
    running ??= checkBuckets(context)
      .then(
        (found) => {
          if (found && found !== problem) context.log.error({ problem: found }, "signed state");
          problem = found;
        },
        (err: unknown) => {
          problem = "not checked";
          context.log.warn({ err }, "could not check the signed state; trying again");
        },
      )
      .finally(() => {
        running = undefined;
      });
  };
  check();
  const timer = setInterval(check, checkEveryMs);
  return {
    get problem() {
      return problem;
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running;
    },
  };
}

async function checkBuckets(context: Context): Promise<string | undefined> {
  let problem: string | undefined;
  for (const state of await listStates(context.db)) {
    const { version, same } = await inBucket(context, state);
    // Another value of this version makes every reader refuse both: the table has the one that is true.
    if (version < state.version || (version === state.version && !same)) await putNow(context, state);
    // Only a database that was set back gets here. To go on would bring back what was revoked since: a person decides.
    if (version > state.version) problem = `bucket ${state.bucket} is ahead of the database`;
  }
  return problem;
}

/** Version 0 when there is none, or none that anybody would accept. Throws UNAVAILABLE when the bus does not answer. */
async function inBucket({ bus, trust, clock }: Context, { bucket, key, envelope }: StoredState) {
  const bytes = await bus.readValue(bucket, key);
  if (!bytes) return { version: 0, same: false };
  try {
    const expected = { bucket, key, minVersion: 1, now: clock.now() };
    const { version } = verifyState(decodeEnvelopeJson(bytes), trust, expected);
    return { version, same: Buffer.from(bytes).toString() === envelope };
  } catch {
    return { version: 0, same: false };
  }
}
