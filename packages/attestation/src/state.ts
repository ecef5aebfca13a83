import { type Envelope, type Signer, signEnvelope, verifyEnvelope } from "./dsse.ts";
import { AttestationError } from "./errors.ts";
import { canonicalBytes, type Json, parseCanonical } from "./json.ts";
import { instant, integer, object, type Reader, text } from "./readers.ts";
import { CLOCK_SKEW_MS, type TrustBundle } from "./trust.ts";
import type { KeyStage } from "./vocabulary.ts";

export const STATE_PAYLOAD_TYPE = "application/vnd.sallyport.state+json";
/** In base64 this stays under the 1 MiB that NATS takes by default. */
export const MAX_STATE_BYTES = 512 * 1024;

const anyJson: Reader<Json> = (value) => value as Json;
const state = object({
  // The names that NATS allows for a bucket and for a key in it.
  bucket: text(/^[A-Za-z0-9_-]{1,64}$/),
  key: text(/^[A-Za-z0-9_=/.-]{1,256}$/),
  version: integer(1),
  value: anyJson,
  issuedAt: instant,
});

/** One value of a watched bucket. `version` starts at 1 and only grows; `issuedAt` is UTC with milliseconds. */
export type StateValue = ReturnType<typeof state>;

/** The one value that governance does not sign: an operator can stop the platform while governance is down. */
export const BREAK_GLASS = Object.freeze({ bucket: "switches", key: "break-glass" });

/**
 * Break-glass versions are the milliseconds of their making, or one more than what was there. One that is further ahead of
 * its own time is refused: it would leave no room for those that have to follow it.
 */
const MAX_VERSION_AHEAD_MS = 24 * 3_600_000;

/** Which stage's key speaks for a key of a bucket: the break-glass key for its one value, governance for all others. */
export function stateStage({ bucket, key }: { bucket: string; key: string }): Extract<KeyStage, "state" | "switch"> {
  return bucket === BREAK_GLASS.bucket && key === BREAK_GLASS.key ? "switch" : "state";
}

export interface StateExpectation {
  bucket: string;
  key: string;
  /** The highest version seen so far: the same again is accepted (a watch repeats itself), a lower one is a rollback. */
  minVersion: number;
  now: Date;
}

/** Throws WRONG_STAGE for a key of another stage than `stateStage`, FIELD_INVALID or PAYLOAD_TOO_LARGE. */
export function signState(signer: Signer, value: StateValue): Envelope {
  if (signer.stage !== stateStage(value)) {
    throw new AttestationError("WRONG_STAGE", `a ${signer.stage} key does not sign this state`);
  }
  const payload = canonicalBytes(value);
  state(parseCanonical(payload), "");
  return signEnvelope(STATE_PAYLOAD_TYPE, payload, signer, MAX_STATE_BYTES);
}

/**
 * Throws what verifyEnvelope and TrustBundle.keyFor throw, STATE_MISMATCH (another bucket's or key's value),
 * STATE_ROLLBACK, NOT_YET_VALID, TRUST_EXPIRED or FIELD_INVALID (a break-glass version far ahead of its time).
 */
export function verifyState(envelope: Envelope, trust: TrustBundle, expected: StateExpectation): StateValue {
  trust.assertCurrent(expected.now);
  const resolve = (keyid: string) => trust.key(keyid);
  const verified = verifyEnvelope(envelope, STATE_PAYLOAD_TYPE, resolve, MAX_STATE_BYTES);
  const found = state(parseCanonical(verified.payload), "");
  trust.keyFor(verified.keyid, stateStage(found), new Date(found.issuedAt));
  if (Date.parse(found.issuedAt) > expected.now.getTime() + CLOCK_SKEW_MS) {
    throw new AttestationError("NOT_YET_VALID", "the value was issued in the future");
  }
  if (found.bucket !== expected.bucket || found.key !== expected.key) {
    throw new AttestationError("STATE_MISMATCH", "the value belongs to another key");
  }
  if (stateStage(found) === "switch" && found.version > Date.parse(found.issuedAt) + MAX_VERSION_AHEAD_MS) {
    throw new AttestationError("FIELD_INVALID", "the version is far ahead of its time", { field: "version" });
  }
  if (!(found.version >= expected.minVersion)) {
    throw new AttestationError("STATE_ROLLBACK", `version ${found.version} is older than ${expected.minVersion}`);
  }
  return found;
}
