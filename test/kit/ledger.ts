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

const columns = `id, tenant, state::text, attempt, code, leaf_hash AS "leafHash", hold_stage AS "holdStage",
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
  final: boolean;
}

/** What was committed for release in the request's attempt. Throws TicketError unless the whole chain of each holds. */
export async function committedWindows(platform: Platform, row: LedgerRow): Promise<CommittedWindow[]> {
  const sql = `SELECT attempt, index, envelope, content, final FROM windows WHERE request_id = $1 AND attempt = $2 ORDER BY index`;
  type Stored = { attempt: number; index: number; envelope: Buffer; content: Buffer; final: boolean };
  const stored = await query<Stored>(platform, "gateway", sql, [row.id, row.attempt]);
  if (stored.length === 0) return [];
  const secret = await secretOf(platform, row);
  const verifier = verifierOf(platform, row, secret);
  return stored.map(({ attempt, index, envelope, content: sealed, final }) => {
    const ticket = fromBinary(EnvelopeSchema, envelope);
    const content = open(secret, { requestId: row.id, kind: "verdict", attempt, index }, sealed);
    verifier.window(ticket, content);
    return { attempt, index, envelope: ticket, sealed, content, final };
  });
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

function verifierOf(platform: Platform, row: LedgerRow, { salt }: RequestSecret): TicketVerifier {
  const { requestDigest, tenant, attempt, id: requestId } = row;
  const about = { requestId, tenant, attempt, requestDigest, salt, modality: "text" as const };
  // As of their issue: a ticket that was good when it was committed is not bad because time went by.
  const options = { at: "issue" as const, clock: () => new Date(), approvedModel: () => true };
  const verifier = new TicketVerifier({ ...about, ...options, trust: trustOf(platform) });
  const { door1, review, countersign } = jobOf(row).admission!;
  verifier.admit(door1!, review && countersign ? { review, countersign } : undefined);
  verifier.claim(fromBinary(EnvelopeSchema, row.claim!));
  return verifier;
}

export const sameEnvelope = (one: Envelope, other: Envelope) => envelopeDigest(one) === envelopeDigest(other);
