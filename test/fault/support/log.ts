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
  request?: { id: string };
  /** Hex RFC 6962 leaf hash, computed from the record's bytes. */
  leaf: string;
  bytes: Uint8Array;
}

export class AuditLog {
  readonly #sallyport: TestPlatform;
  readonly #audit: ReturnType<typeof grpcClients>["audit"];
  readonly #trust: { origin: string; keys: ReturnType<typeof parseVkey>[] };

  constructor(sallyport: TestPlatform, { audit }: ReturnType<typeof grpcClients>) {
    this.#sallyport = sallyport;
    this.#audit = audit;
    const [log] = trustOf(sallyport.platform).logs as TrustBundle["logs"];
    this.#trust = { origin: log!.origin, keys: [parseVkey(log!.vkey)] };
  }

  async records(): Promise<LoggedRecord[]> {
    const records: LoggedRecord[] = [];
    for await (const { record } of this.#audit.tailRecords({ fromIndex: 0n }, this.#asAuditor())) {
      const bytes = record!.json;
      const leaf = Buffer.from(leafHash(bytes)).toString("hex");
      records.push({ ...(JSON.parse(Buffer.from(bytes).toString()) as LoggedRecord), leaf, bytes });
    }
    return records;
  }

  async checkpoint(): Promise<OpenedCheckpoint> {
    const { checkpoint } = await this.#audit.getCheckpoint({}, this.#asAuditor());
    return openCheckpoint(checkpoint, this.#trust);
  }

  /** Throws unless the records are exactly what `checkpoint` signs, and all that `earlier` signed is still in it. */
  async verify(
    records: readonly LoggedRecord[],
    earlier: OpenedCheckpoint,
    checkpoint: OpenedCheckpoint,
  ): Promise<void> {
    let frontier = emptyFrontier;
    for (const { bytes } of records.slice(0, checkpoint.size)) frontier = append(frontier, leafHash(bytes)).frontier;
    const root = Buffer.from(rootOf(frontier));
    if (frontier.size !== checkpoint.size || !root.equals(checkpoint.root))
      throw new Error("the log is not what it signed");
    const sizes = { oldSize: BigInt(earlier.size), newSize: BigInt(checkpoint.size) };
    const { hashes } = await this.#audit.getConsistencyProof(sizes, this.#asAuditor());
    verifyConsistency(earlier.size, checkpoint.size, earlier.root, checkpoint.root, hashes);
  }

  /** Throws unless the log proves that it holds the record. */
  async proveIncluded({ leaf, bytes }: LoggedRecord): Promise<void> {
    const { proof } = await this.#audit.getRecord({ key: { case: "leafHash", value: leaf } }, this.#asAuditor());
    verifyProof(proof, leafHash(bytes), this.#trust);
  }

  #asAuditor() {
    return { bearer: this.#sallyport.token("auditor"), deadlineMs: 30_000 };
  }
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
