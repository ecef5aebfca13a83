/** The gateway's ledger as an outsider with its keys sees it: rows, and released windows whose tickets are verified anew. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Envelope,
  envelopeDigest,
  loadTrustBundle,
  open,
  type RequestSecret,
  TicketError,
  TicketVerifier,
  type TrustBundle,
  unwrapSecret,
} from "@sallyport/attestation";
import type { Platform } from "@sallyport/infra/platform";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { type Job, JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { encryptionKeyFile } from "../../infra/local/trust.ts";
import { query } from "./database.ts";

export interface LedgerRow {
  id: string;
  tenant: string;
  subject: string;
  modelDigest: string;
  state: "queued" | "running" | "held" | "released" | "blocked" | "failed" | "cancelled";
  attempt: number;
  code: string;
  leafHash: string;
  holdStage: "door1" | "collecting" | "door2" | null;
  windowsReleased: number;
  requestDigest: string;
  secret: string;
  job: Buffer;
  claim: Buffer | null;
  endedAt: Date | null;
}

const columns = `id, tenant, subject, model_digest AS "modelDigest", state::text, attempt, code, leaf_hash AS "leafHash", hold_stage AS "holdStage",
  windows_released AS "windowsReleased", request_digest AS "requestDigest", secret_gateway AS secret, job, claim, ended_at AS "endedAt"`;

export function readRequests(platform: Platform): Promise<LedgerRow[]> {
  return query<LedgerRow>(platform, "gateway", `SELECT ${columns} FROM requests ORDER BY created_at`);
}

export async function readRequest(platform: Platform, id: string): Promise<LedgerRow | undefined> {
  return (await query<LedgerRow>(platform, "gateway", `SELECT ${columns} FROM requests WHERE id = $1`, [id]))[0];
}

export interface CommittedWindow {
  attempt: number;
  index: number;
  envelope: Envelope;
  /** As stored: sealed under the request's key. */
  sealed: Uint8Array;
  content: Uint8Array;
  /** Says the ticket. */
  final: boolean;
}

/** As the tables have it: nothing of it is verified. */
export interface StoredWindow {
  requestId: string;
  attempt: number;
  index: number;
  envelope: Buffer;
  content: Buffer;
  final: boolean;
}

export interface StoredHold {
  requestId: string;
  stage: "door1" | "door2";
  attempt: number;
  hold: Buffer;
  content: Buffer | null;
  review: Buffer | null;
  countersign: Buffer | null;
  allowed: boolean | null;
}

export function storedWindows(platform: Platform, ids: readonly string[]): Promise<StoredWindow[]> {
  const sql = `SELECT w.request_id AS "requestId", w.attempt, w.index, w.envelope, w.content, w.final FROM windows w
    JOIN requests r ON r.id = w.request_id AND r.attempt = w.attempt WHERE w.request_id = ANY($1) ORDER BY w.index`;
  return query<StoredWindow>(platform, "gateway", sql, [ids]);
}

export function storedHolds(platform: Platform, ids: readonly string[]): Promise<StoredHold[]> {
  const sql = `SELECT request_id AS "requestId", stage, attempt, hold, content, review, countersign, allowed FROM holds
    WHERE request_id = ANY($1)`;
  return query<StoredHold>(platform, "gateway", sql, [ids]);
}

/** What was committed for release in the request's attempt. Throws TicketError unless the whole chain of each holds. */
export async function committedWindows(platform: Platform, row: LedgerRow): Promise<CommittedWindow[]> {
  const stored = await storedWindows(platform, [row.id]);
  if (stored.length === 0) return [];
  return openWindows(trustOf(platform), row, await secretOf(platform, row), stored);
}

/** Throws TicketError unless the whole chain of each window holds, over just these bytes. */
export function openWindows(
  trust: TrustBundle,
  row: LedgerRow,
  secret: RequestSecret,
  stored: readonly StoredWindow[],
): CommittedWindow[] {
  if (stored.length === 0) return [];
  const verifier = verifierOf(trust, row, secret);
  return stored.map(({ attempt, index, envelope, content: sealed }) => {
    const ticket = fromBinary(EnvelopeSchema, envelope);
    const content = open(secret, { requestId: row.id, kind: "verdict", attempt, index }, sealed);
    const { final } = verifier.window(ticket, content);
    return { attempt, index, envelope: ticket, sealed, content, final };
  });
}

/** A whole output that a person released, as one window; its ticket is the countersignature. Throws TicketError. */
export function openHeldOutput(
  trust: TrustBundle,
  row: LedgerRow,
  secret: RequestSecret,
  { attempt, hold, content: sealed, review, countersign }: StoredHold,
): CommittedWindow {
  if (!sealed || !review || !countersign) throw new TicketError("TRUNCATED", "released without review and countersign");
  const content = open(secret, { requestId: row.id, kind: "output", attempt, index: 0 }, sealed);
  const [held, reviewed, envelope] = [hold, review, countersign].map((bytes) => fromBinary(EnvelopeSchema, bytes));
  verifierOf(trust, row, secret).heldOutput(held!, reviewed!, envelope!, content);
  return { attempt, index: 0, envelope: envelope!, sealed, content, final: true };
}

export function secretOf({ home }: Platform, row: LedgerRow): Promise<RequestSecret> {
  return unwrapSecret(row.secret, createPrivateKey(readFileSync(encryptionKeyFile(home, "gateway"))), row.id);
}

export function jobOf(row: LedgerRow): Job {
  return fromBinary(JobSchema, row.job);
}

export function trustOf({ endpoints }: Platform): TrustBundle {
  const root = createPublicKey(readFileSync(endpoints.trustRoot));
  return loadTrustBundle(readFileSync(endpoints.trustBundle), root, new Date());
}

/** Its admission and claim hold. Throws TicketError. */
export function verifierOf(trust: TrustBundle, row: LedgerRow, { salt }: RequestSecret): TicketVerifier {
  const { requestDigest, tenant, attempt, id: requestId } = row;
  const about = { requestId, tenant, attempt, requestDigest, salt, modality: "text" as const };
  // As of their issue: a ticket that was good when it was committed is not bad because time went by.
  const options = { at: "issue" as const, clock: () => new Date(), approvedModel: () => true };
  const verifier = new TicketVerifier({ ...about, ...options, trust });
  const { door1, review, countersign } = jobOf(row).admission!;
  verifier.admit(door1!, review && countersign ? { review, countersign } : undefined);
  verifier.claim(fromBinary(EnvelopeSchema, row.claim!));
  return verifier;
}

export const sameEnvelope = (one: Envelope, other: Envelope) => envelopeDigest(one) === envelopeDigest(other);
