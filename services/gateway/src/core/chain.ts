/** What the tickets of an output hang from: a caller who has it verifies every window for itself. */
import type { Envelope } from "@sallyport/attestation";
import type { RequestRow } from "../db/ledger.ts";
import { readEnvelope, readJob } from "./messages.ts";

export interface Chain {
  readonly tenant: string;
  readonly salt: Uint8Array;
  /** Hex salted digest of the request as accepted. */
  readonly requestDigest: string;
  /** Door 1; where a person let the request in, their review and door 2's countersignature follow. */
  readonly admission: Envelope[];
  readonly claim: Envelope;
}

/** Of a row whose run has begun. */
export function chainOf(row: RequestRow, salt: Uint8Array): Chain {
  const { door1, review, countersign } = readJob(row).admission!;
  const { tenant, requestDigest } = row;
  const admission = [door1!, ...(review && countersign ? [review, countersign] : [])];
  return { tenant, salt, requestDigest, admission, claim: readEnvelope(row.claim!) };
}
