/** A receipt: a record of the audit log and the proof that the log holds it. Verified without asking anyone. */
import type { TrustBundle } from "@sallyport/attestation";
import {
  leafHash,
  type OpenedCheckpoint,
  parseCheckpoint,
  parseNote,
  parseProof,
  parseVkey,
  TlogError,
  verifyProof,
} from "@sallyport/tlog";
import { UsageError } from "./exit-codes.ts";

export interface Receipt {
  /** The leaf: canonical JSON (RFC 8785), byte for byte. */
  readonly record: Uint8Array;
  /** c2sp.org/tlog-proof. */
  readonly proof: string;
}

export interface VerifiedReceipt {
  index: number;
  /** Hex. */
  leafHash: string;
  checkpoint: OpenedCheckpoint;
  record: Record<string, unknown>;
}

/** `{"v":1,"record":"…","proof":"…"}`: the record as a string, so that its bytes stay as they were hashed. */
export function encodeReceipt({ record, proof }: Receipt): string {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(record);
  return `${JSON.stringify({ v: 1, record: text, proof }, undefined, 2)}\n`;
}

/** Throws UsageError when the file is not a receipt. */
export function parseReceipt(json: string): Receipt {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new UsageError("this is not a receipt: not JSON (give a bare .tlog-proof together with --record)");
  }
  const { v, record, proof } = (value ?? {}) as Record<string, unknown>;
  if (v !== 1 || typeof record !== "string" || typeof proof !== "string") {
    throw new UsageError("this is not a receipt: it needs v 1, record and proof");
  }
  return { record: new TextEncoder().encode(record), proof };
}

/** Throws TlogError: the log is not one that the bundle trusts, a signature is not good, or the record is not in it. */
export function verifyReceipt({ record, proof }: Receipt, trust: Pick<TrustBundle, "logs">): VerifiedReceipt {
  const { origin } = parseCheckpoint(parseNote(parseProof(proof).checkpoint).text);
  const keys = trust.logs.filter((log) => log.origin === origin).map((log) => parseVkey(log.vkey));
  if (keys.length === 0) throw new TlogError("signature", `the trust bundle knows no log ${JSON.stringify(origin)}`);
  const leaf = leafHash(record);
  const { index, checkpoint } = verifyProof(proof, leaf, { origin, keys });
  return { index, leafHash: Buffer.from(leaf).toString("hex"), checkpoint, record: parseRecord(record) };
}

/** Throws TlogError when it is no JSON object: a trusted log holds no such record. */
export function parseRecord(record: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(record));
  } catch {
    throw new TlogError("format", "the record is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TlogError("format", "the record is not a JSON object");
  return value as Record<string, unknown>;
}

/** One line: time, event, request, decision. What is no plain value where one belongs is shown as `?`. */
export function describeRecord(record: Record<string, unknown>): string {
  const { id } = fields(record.request);
  const { stage, decision, code } = fields(record.decision);
  const about = id === undefined ? "" : ` request ${word(id)}`;
  const decided = [stage, decision, code]
    .filter((part) => part !== undefined && part !== "")
    .map((part) => ` ${word(part)}`);
  return `${word(record.time)} ${word(record.event)} (${word(record.producer)} #${word(record.sequence)})${about}${decided.join("")}`;
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function word(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}

export function describeVerified({ index, leafHash: leaf, checkpoint, record }: VerifiedReceipt): string[] {
  return [
    describeRecord(record),
    `verified: record ${index} of the log ${checkpoint.origin}, which then held ${checkpoint.size} records`,
    `  leaf ${leaf}`,
    `  root ${Buffer.from(checkpoint.root).toString("hex")}`,
  ];
}

/** For --json. */
export function verifiedJson({ index, leafHash: leaf, checkpoint, record }: VerifiedReceipt) {
  const { origin, size, root } = checkpoint;
  return { verified: true, index, leafHash: leaf, origin, size, root: Buffer.from(root).toString("hex"), record };
}
