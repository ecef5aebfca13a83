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
import type { Receipt } from "../transport/transport.ts";

export interface VerifiedReceipt {
  /** Place in the log, from 0. */
  index: number;
  /** Hex (RFC 6962). */
  leafHash: string;
  checkpoint: OpenedCheckpoint;
  /** What the log holds: docs/design/contracts.md, "Audit record". */
  record: Record<string, unknown>;
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

/** What a receipt must be about. */
export interface Expected {
  requestId: string;
  /** Of the outcome, where it told. */
  leafHash?: string;
  requestDigest?: string;
  outputDigest?: string;
}

/** Throws TlogError when the record is about something else, or another output than was seen. */
export function checkAbout({ record, leafHash: leaf }: VerifiedReceipt, expected: Expected): void {
  const fields = (value: unknown) =>
    (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const [request, digests] = [fields(record.request), fields(record.digests)];
  const must = (holds: boolean, problem: string) => {
    if (!holds) throw new TlogError("proof", problem);
  };
  const same = (found: unknown, wanted: string | undefined) => !wanted || found === wanted;
  must(request.id === expected.requestId, "the receipt is another request's");
  must(same(leaf, expected.leafHash), "the receipt is of another record than the outcome named");
  must(same(digests.request, expected.requestDigest), "the record is about another request");
  must(same(digests.output, expected.outputDigest), "the record is about another output");
}
