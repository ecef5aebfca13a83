/** A receipt as a file, and what it says for a person. */
import type { Receipt, VerifiedReceipt } from "@sallyport/client";
import { UsageError } from "./exit-codes.ts";

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
