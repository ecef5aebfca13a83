/**
 * The values that everybody watches. They are signed and stored in the transaction that changes what they say, and put
 * into their buckets from the table: right after the change, and whenever a bucket lacks its newest (looked up each second),
 * so that a wiped bus heals by itself and never by a value that the table does not hold.
 */
import {
  AttestationError,
  BREAK_GLASS,
  CLOCK_SKEW_MS,
  decodeEnvelopeJson,
  encodeEnvelopeJson,
  type Json,
  parseCanonical,
  signState,
  type TrustBundle,
  verifyState,
} from "@sallyport/attestation";
import { AppError, periodically, type StoredValue, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { listStates, lockState, type StoredState, saveState } from "../db/signed-state.ts";

const checkEveryMs = 1_000;

export type Place = Pick<StoredState, "bucket" | "key">;

export interface Signed {
  state: StoredState;
  /** False when the newest version said the same already. */
  changed: boolean;
}

/**
 * In the caller's transaction: the next version of a key, unless the newest says the same and is still believed (the key
 * that signed it may have been taken out of the trust bundle). Throws RESOURCE_EXHAUSTED
 * (STATE_FULL) when the value is larger than a bucket takes.
 */
export async function signNext(
  { stateSigner, trust, clock }: Context,
  tx: Tx,
  place: Place,
  digest: string,
  value: Json,
): Promise<Signed> {
  const newest = await lockState(tx, place.bucket, place.key);
  if (newest?.digest === digest && isBelieved(newest, trust, clock.now())) return { state: newest, changed: false };
  const version = (newest?.version ?? 0) + 1;
  const issuedAt = clock.now().toISOString();
  const envelope = encodeEnvelopeJson(
    unlessFull(place, () => signState(stateSigner, { ...place, version, value, issuedAt })),
  );
  const next = { ...place, version, digest, envelope };
  await saveState(tx, next);
  return { state: next, changed: true };
}

/**
 * What was signed while this clock was ahead is believed by nobody until then, and what nobody believes stops the platform:
 * once the clock is right again it is signed anew, as the next version.
 */
async function signAhead(context: Context, state: StoredState): Promise<StoredState> {
  const { payload } = decodeEnvelopeJson(state.envelope);
  const { issuedAt, value } = parseCanonical(payload) as { issuedAt: string; value: Json };
  if (isBreakGlass(state) || Date.parse(issuedAt) <= context.clock.now().getTime() + CLOCK_SKEW_MS) return state;
  const { bucket, key, version } = state;
  context.log.warn({ bucket, key, version, issuedAt }, "signed by a clock that was ahead; signing it again");
  const place = { bucket, key };
  const next = await context.db.transaction(async (tx) => {
    const newest = await lockState(tx, bucket, key);
    return newest?.version === version ? await signNext(context, tx, place, state.digest, value) : undefined;
  });
  return next?.state ?? state;
}

function isBelieved({ bucket, key, version, envelope }: StoredState, trust: TrustBundle, now: Date): boolean {
  try {
    return (
      verifyState(decodeEnvelopeJson(envelope), trust, { bucket, key, minVersion: version, now }).version === version
    );
  } catch {
    return false;
  }
}

function unlessFull<T>({ bucket, key }: Place, sign: () => T): T {
  try {
    return sign();
  } catch (error) {
    if (!(error instanceof AttestationError && error.code === "PAYLOAD_TOO_LARGE")) throw error;
    const message = `the signed ${bucket} (${key}) are full; end some that are no longer needed, then try again`;
    throw new AppError("RESOURCE_EXHAUSTED", message, { reason: "STATE_FULL", details: { bucket, key }, cause: error });
  }
}

/**
 * A change takes effect with this; when it cannot be put now, the loop puts it. With `found` only in the place of that
 * value: what somebody else (the operator, another replica) has put since stays.
 */
export async function putNow(
  { bus, log }: Context,
  { bucket, key, version, envelope }: StoredState,
  found?: { entry: StoredValue | undefined },
): Promise<void> {
  try {
    const value = new TextEncoder().encode(envelope);
    await bus.putValue(bucket, key, value, found && (found.entry?.sequence ?? 0));
    log.info({ bucket, key, version }, "signed state published");
  } catch (err) {
    log.warn({ err, bucket, key, version }, "signed state not published yet; trying again");
  }
}

export interface SignedState extends AsyncDisposable {
  /** Why a bucket is not as it should be, if so. */
  readonly problem: string | undefined;
}

/** Keeps the buckets as the table has them. */
export function startSignedState(context: Context): SignedState {
  let problem: string | undefined = "not checked yet";
  const rounds = periodically(context.log, checkEveryMs, "check the signed state", async () => {
    const found = await checkBuckets(context).catch((error: unknown) => {
      problem = "not checked";
      throw error;
    });
    if (found && found !== problem) context.log.error({ problem: found }, "signed state");
    problem = found;
  });
  return {
    get problem() {
      return problem;
    },
    [Symbol.asyncDispose]: () => rounds[Symbol.asyncDispose](),
  };
}

async function checkBuckets(context: Context): Promise<string | undefined> {
  let problem: string | undefined;
  for (const stored of await listStates(context.db)) {
    const state = await signAhead(context, stored);
    const { entry, version, same } = await inBucket(context, state);
    // Another value of this version makes every reader refuse both: the table has the one that is true.
    if (version < state.version || (version === state.version && !same)) await putNow(context, state, { entry });
    // The operator's next switches, which are adopted a moment later.
    if (isBreakGlass(state)) continue;
    // Only a database that was set back gets here. To go on would bring back what was revoked since: a person decides.
    if (version > state.version) problem = `bucket ${state.bucket} is ahead of the database`;
  }
  return problem;
}

/** Version 0 when there is none, or none that anybody would accept. Throws UNAVAILABLE when the bus does not answer. */
async function inBucket({ bus, trust, clock }: Context, { bucket, key, envelope }: StoredState) {
  const entry = await bus.readEntry(bucket, key);
  if (!entry) return { entry, version: 0, same: false };
  try {
    const expected = { bucket, key, minVersion: 1, now: clock.now() };
    const { version } = verifyState(decodeEnvelopeJson(entry.value), trust, expected);
    return { entry, version, same: Buffer.from(entry.value).toString() === envelope };
  } catch {
    return { entry, version: 0, same: false };
  }
}

function isBreakGlass({ bucket, key }: Place): boolean {
  return bucket === BREAK_GLASS.bucket && key === BREAK_GLASS.key;
}
