/** The audit log as an auditor gets it, checked with nothing but the trust bundle. */
import type { TrustBundle } from "@sallyport/attestation";
import {
  append,
  emptyFrontier,
  leafHash,
  type OpenedCheckpoint,
  openCheckpoint,
  parseVkey,
  rootOf,
  verifyConsistency,
  verifyProof,
} from "@sallyport/tlog";
import { type grpcClients, type TestPlatform, trustOf } from "../../kit/index.ts";

export interface LoggedRecord {
  event: string;
  producer: string;
  epoch: string;
  sequence: number;
  request?: { id: string; modelDigest?: string };
  actor?: { tenant: string; subject: string };
  decision?: { decision: string; stage: string };
  detail?: Readonly<Record<string, unknown>>;
  /** Hex RFC 6962 leaf hash, computed from the record's bytes. */
  leaf: string;
  bytes: Uint8Array;
}

export class AuditLog {
  readonly #sallyport: TestPlatform;
  readonly #audit: ReturnType<typeof grpcClients>["audit"];
  readonly #trust: LogTrust;
  readonly #read: LoggedRecord[] = [];

  constructor(sallyport: TestPlatform, { audit }: ReturnType<typeof grpcClients>) {
    this.#sallyport = sallyport;
    this.#audit = audit;
    const [log] = trustOf(sallyport.platform).logs as TrustBundle["logs"];
    this.#trust = { origin: log!.origin, keys: [parseVkey(log!.vkey)] };
  }

  /** All records. What was read before is not asked for again: the log has to go on from just those bytes. */
  async records(): Promise<readonly LoggedRecord[]> {
    const from = { fromIndex: BigInt(this.#read.length) };
    for await (const { record } of this.#audit.tailRecords(from, this.#asAuditor())) {
      this.#read.push(parseRecord(record!.json));
    }
    return this.#read;
  }

  async checkpoint(): Promise<OpenedCheckpoint> {
    const { checkpoint } = await this.#audit.getCheckpoint({}, this.#asAuditor());
    return openCheckpoint(checkpoint, this.#trust);
  }

  /** Hashes that lead from the one signed head to the other. */
  async consistency(earlier: OpenedCheckpoint, later: OpenedCheckpoint): Promise<Uint8Array[]> {
    const sizes = { oldSize: BigInt(earlier.size), newSize: BigInt(later.size) };
    return (await this.#audit.getConsistencyProof(sizes, this.#asAuditor())).hashes;
  }

  /** The log's own proof (c2sp.org/tlog-proof) that it holds a record. */
  async proofOf({ leaf }: LoggedRecord): Promise<string> {
    return (await this.#audit.getRecord({ key: { case: "leafHash", value: leaf } }, this.#asAuditor())).proof;
  }

  get trust(): LogTrust {
    return this.#trust;
  }

  #asAuditor() {
    return { bearer: this.#sallyport.token("auditor"), deadlineMs: 30_000 };
  }
}

export interface LogTrust {
  readonly origin: string;
  readonly keys: ReturnType<typeof parseVkey>[];
}

export function parseRecord(bytes: Uint8Array): LoggedRecord {
  const leaf = Buffer.from(leafHash(bytes)).toString("hex");
  return { ...(JSON.parse(Buffer.from(bytes).toString()) as LoggedRecord), leaf, bytes };
}

/** Throws unless the records are exactly what `checkpoint` signs, and all that `earlier` signed is still in it. */
export function verifyLog(
  records: readonly LoggedRecord[],
  earlier: OpenedCheckpoint,
  checkpoint: OpenedCheckpoint,
  consistency: readonly Uint8Array[],
): void {
  let frontier = emptyFrontier;
  for (const { bytes } of records.slice(0, checkpoint.size)) frontier = append(frontier, leafHash(bytes)).frontier;
  const root = Buffer.from(rootOf(frontier));
  if (frontier.size !== checkpoint.size || !root.equals(checkpoint.root))
    throw new Error("the log is not what it signed");
  verifyConsistency(earlier.size, checkpoint.size, earlier.root, checkpoint.root, consistency);
}

/** Throws unless the log proves that it holds just this record. */
export function verifyIncluded({ bytes }: LoggedRecord, proof: string, trust: LogTrust): void {
  verifyProof(proof, leafHash(bytes), trust);
}

const endings = ["request.released", "request.blocked", "request.failed", "request.cancelled"];
export const isTerminal = ({ event }: LoggedRecord) => endings.includes(event);

export function byRequest(records: readonly LoggedRecord[]): Map<string, LoggedRecord[]> {
  return Map.groupBy(
    records.filter(({ request }) => request !== undefined),
    ({ request }) => request!.id,
  );
}

/** What is missing or double in each producer's numbering; empty when nothing is. */
export function gaps(records: readonly LoggedRecord[]): string[] {
  const boots = Map.groupBy(records, ({ producer, epoch }) => `${producer}/${epoch}`);
  return [...boots].flatMap(([boot, of]) => {
    const sequences = of.map(({ sequence }) => sequence).toSorted((one, other) => one - other);
    const wrong = sequences.findIndex((sequence, at) => sequence !== at + 1);
    return wrong === -1 ? [] : [`${boot}: ${sequences[wrong]} in place ${wrong + 1}`];
  });
}
