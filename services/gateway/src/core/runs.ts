/**
 * What the gateway must know of a live request to judge its next verdict: its secret, its admission, and how far its
 * release chain is verified. Kept in memory, rebuilt from the ledger after a restart or on another replica.
 */
import { createHash, type Hash } from "node:crypto";
import {
  type DecryptionKeys,
  type Envelope,
  open,
  type RequestSecret,
  type TicketContext,
  TicketVerifier,
  type TrustBundle,
  unwrapSecret,
} from "@sallyport/attestation";
import type { Clock, Db } from "@sallyport/runtime";
import { findRequest, type RequestRow } from "../db/ledger.ts";
import { listWindows, type WindowRow } from "../db/windows.ts";
import { isJudgedNow } from "../domain/request-state.ts";
import { chainOf } from "./chain.ts";
import type { ReleasedWindow } from "./live.ts";
import { readEnvelope, readJob } from "./messages.ts";

export interface Run {
  readonly requestId: string;
  readonly attempt: number;
  readonly secret: RequestSecret;
  /** Door 1's word, and where a person let the request in, theirs and door 2's. */
  readonly admission: readonly Envelope[];
  readonly verifier: TicketVerifier;
  /** As of the last commit, or of the acceptance: what does not change while it runs. */
  row: RequestRow;
  /** The worker's, once it is verified; the ledger has it with the first window at the latest. */
  claim: Envelope | undefined;
  /** Until the claim is stored by itself. */
  starting?: NodeJS.Timeout;
  /** What was released, in order, as stored. */
  readonly windows: WindowRow[];
  /** SHA-256 over the salt and the released contents. */
  readonly digest: Hash;
  /** Door 2 holds the output and reads the rest of it. */
  holding: boolean;
}

export interface RunsOptions {
  readonly db: Db;
  readonly trust: TrustBundle;
  readonly encryptionKey: DecryptionKeys;
  readonly clock: Clock;
  readonly approvedModel: (digest: string) => boolean;
}

/** More live requests than this and the oldest are rebuilt from the ledger when their next verdict comes. */
const maxCached = 5_000;

export class Runs {
  readonly #options: RunsOptions;
  readonly #cache = new Map<string, Run>();
  readonly #max: number;

  constructor(options: RunsOptions, max = maxCached) {
    this.#options = options;
    this.#max = max;
  }

  get size(): number {
    return this.#cache.size;
  }

  /** For a request that was just accepted: nothing of it is verified yet but its admission. */
  remember(row: RequestRow, secret: RequestSecret): void {
    this.#keep(this.#begin(row, secret).run);
  }

  /** The row of this attempt, as it was queued; undefined when that is not remembered. */
  queuedRow(requestId: string, attempt: number): RequestRow | undefined {
    const row = this.#cache.get(requestId)?.row;
    return row?.state === "queued" && row.attempt === attempt ? row : undefined;
  }

  drop(requestId: string): void {
    this.#cache.delete(requestId);
  }

  /** The run of this attempt, or undefined when a verdict on it says nothing any more. */
  async get(requestId: string, attempt: number): Promise<Run | undefined> {
    const cached = this.#cache.get(requestId);
    if (cached?.attempt === attempt) return cached;
    const { row, windows } = await this.#options.db.transaction(async (tx) => {
      const row = await findRequest(tx, requestId);
      return { row, windows: row ? await listWindows(tx, requestId, row.attempt) : [] };
    });
    if (!row || !isJudgedNow(row, attempt)) return undefined;
    const { run } = await this.#rebuild(row, windows);
    this.#keep(run);
    return run;
  }

  async secretOf(row: RequestRow): Promise<RequestSecret> {
    return (
      this.#cache.get(row.id)?.secret ?? (await unwrapSecret(row.secretGateway, this.#options.encryptionKey, row.id))
    );
  }

  /** Opens stored windows from `from` on, verifying all their tickets again: the database is not trusted to release anything. */
  async openWindows(row: RequestRow, windows: readonly WindowRow[], from = 0): Promise<ReleasedWindow[]> {
    if (windows.length <= from) return [];
    return (await this.#rebuild(row, windows)).opened.slice(from);
  }

  /** A verifier of this attempt whose chain holds up to the claim; what comes next is judged as of its issue. */
  async verifierOf(row: RequestRow): Promise<{ verifier: TicketVerifier; ticket: TicketContext }> {
    const { run, ticket } = await this.#rebuild(row, [], "issue");
    return { verifier: run.verifier, ticket };
  }

  #keep(run: Run): void {
    this.#cache.delete(run.requestId);
    if (this.#cache.size >= this.#max) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(run.requestId, run);
  }

  async #rebuild(row: RequestRow, windows: readonly WindowRow[], then?: "issue") {
    const secret = await this.secretOf(row);
    const { run, ticket } = this.#begin(row, secret, "issue");
    if (row.claim) {
      run.claim = readEnvelope(row.claim);
      run.verifier.claim(run.claim);
    }
    const opened = windows.map(({ attempt, index, content: sealed, envelope }): ReleasedWindow => {
      const content = open(secret, { requestId: row.id, kind: "verdict", attempt, index }, sealed);
      const release = readEnvelope(envelope);
      run.verifier.window(release, content);
      run.digest.update(content);
      return { attempt, index, content, ticket: release, ...(index === 0 && { chain: chainOf(row, secret.salt) }) };
    });
    run.windows.push(...windows);
    if (then !== "issue") {
      // What is stored was in time when it was committed; what comes now is judged by the clock.
      ticket.at = undefined;
      ticket.approvedModel = this.#options.approvedModel;
    }
    return { run, ticket, opened };
  }

  #begin(row: RequestRow, secret: RequestSecret, at?: "issue"): { run: Run; ticket: TicketContext } {
    const { trust, clock, approvedModel } = this.#options;
    const ticket: TicketContext = {
      trust,
      requestId: row.id,
      tenant: row.tenant,
      attempt: row.attempt,
      requestDigest: row.requestDigest,
      sentDigest: row.sentDigest,
      salt: secret.salt,
      modality: "text",
      clock: () => clock.now(),
      approvedModel: at === "issue" ? () => true : approvedModel,
      at,
    };
    const verifier = new TicketVerifier(ticket);
    const { door1, review, countersign } = readJob(row).admission!;
    const release = review && countersign ? { review, countersign } : undefined;
    verifier.admit(door1!, release);
    const admission = release ? [door1!, release.review, release.countersign] : [door1!];
    const holding = row.state === "held" && row.holdStage === "collecting";
    const { id: requestId, attempt } = row;
    const digest = createHash("sha256").update(secret.salt);
    const fresh = { claim: undefined, windows: [], digest, holding };
    return { run: { requestId, attempt, secret, admission, verifier, row, ...fresh }, ticket };
  }
}
