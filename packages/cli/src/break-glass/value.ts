/** The next value of the operator's break-glass switches: what was there and still holds, and one more. */
import {
  AttestationError,
  BREAK_GLASS,
  decodeEnvelopeJson,
  encodeEnvelopeJson,
  type Json,
  type Signer,
  signState,
  type TrustBundle,
  verifyState,
} from "@sallyport/attestation";
import { readSwitches, type Switch } from "@sallyport/runtime/break-glass";
import { AppError } from "@sallyport/runtime/client";

export interface BreakGlassValue {
  version: number;
  switches: readonly Switch[];
}

/** Throws AttestationError when the value is not one that readers believe. */
export function readValue(bytes: Uint8Array, trust: TrustBundle, now: Date): BreakGlassValue {
  const { version, value } = verifyState(decodeEnvelopeJson(bytes), trust, { ...BREAK_GLASS, minVersion: 1, now });
  return { version, switches: readSwitches(value).switches };
}

/**
 * Versions rise, whatever was lost: they are milliseconds, so that a value made after the bus was wiped is still above
 * those that readers remember. Throws AttestationError when the key is not the one that the trust bundle appoints, and
 * RESOURCE_EXHAUSTED when no more fit.
 */
export function nextValue(
  current: BreakGlassValue | undefined,
  added: Switch,
  { signer, trust, now }: { signer: Signer; trust: TrustBundle; now: Date },
): { version: number; bytes: Uint8Array } {
  const version = Math.max((current?.version ?? 0) + 1, now.getTime());
  const kept = current?.switches.filter(({ until }) => until === undefined || until > now) ?? [];
  const value = { switches: [...kept, added].map(toSigned) };
  const state = { ...BREAK_GLASS, version, value, issuedAt: now.toISOString() };
  const envelope = unlessFull(() => signState(signer, state));
  verifyState(envelope, trust, { ...BREAK_GLASS, minVersion: version, now });
  return { version, bytes: new TextEncoder().encode(encodeEnvelopeJson(envelope)) };
}

export function toSigned({ id, kind, target, until }: Switch): Record<string, Json> {
  return { id, kind, target: { ...target }, ...(until && { until: until.toISOString() }) };
}

function unlessFull<T>(sign: () => T): T {
  try {
    return sign();
  } catch (error) {
    if (!(error instanceof AttestationError && error.code === "PAYLOAD_TOO_LARGE")) throw error;
    const message =
      "there is no room for another break-glass switch; pause --everything, or a whole tenant, by governance";
    throw new AppError("RESOURCE_EXHAUSTED", message, { reason: "STATE_FULL", cause: error });
  }
}
