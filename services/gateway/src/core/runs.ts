/**
 * What the gateway must know of a live request to judge its next verdict: the request's secret, its job, and how far its
 * release chain is verified. Kept in memory, rebuilt from the ledger after a restart or on another replica.
 */
import type { KeyObject } from "node:crypto";
import {
  open,
  type RequestSecret,
  type TicketContext,
  TicketVerifier,
  type TrustBundle,
  unwrapSecret,
} from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Clock, Db } from "@sallyport/runtime";
import { findRequest, listWindows, type RequestRow, type WindowRow } from "../db/ledger.ts";
import type { ReleasedWindow } from "./live.ts";
import { readEnvelope, readJob } from "./messages.ts";

export interface Run {
  readonly requestId: string;
  readonly attempt: number;
  readonly row: RequestRow;
  readonly job: Job;
  readonly secret: RequestSecret;
  readonly verifier: TicketVerifier;
  /** Index of the next window to release. */
  next: number;
  claimed: boolean;
}

export interface RunsOptions {
  readonly db: Db;
  readonly trust: TrustBundle;
  readonly encryptionKey: KeyObject;
  readonly clock: Clock;
  readonly approvedModel: (digest: string) => boolean;
}

/** More live requests than this and the oldest are rebuilt from the ledger when their next verdict comes. */
const maxCached = 10_000;

export class Runs {
  readonly #options: RunsOptions;
  readonly #cache = new Map<string, Run>();

  constructor(options: RunsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#cache.size;
  }

  /** For a request that was just accepted: nothing of it is verified yet but its admission. */
  remember(row: RequestRow, secret: RequestSecret): void {
    const { run } = this.#begin(row, readJob(row), secret);
    if (this.#cache.size >= maxCached) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(row.id, run);
  }

  drop(requestId: string): void {
    this.#cache.delete(requestId);
  }

  /** The run of this attempt, or undefined when the request is unknown, over, or in another attempt. */
  async get(requestId: string, attempt: number): Promise<Run | undefined> {
    const cached = this.#cache.get(requestId);
    if (cached?.attempt === attempt) return cached;
    const { db } = this.#options;
    const { row, windows } = await db.transaction(async (tx) => {
      const row = await findRequest(tx, requestId);
      return { row, windows: row ? await listWindows(tx, requestId, row.attempt) : [] };
    });
    if (!row || row.attempt !== attempt || (row.state !== "queued" && row.state !== "running" && row.state !== "held"))
      return undefined;
    const { run } = await this.#rebuild(row, windows);
    this.#cache.set(requestId, run);
    return run;
  }

  async secretOf(row: RequestRow): Promise<RequestSecret> {
    return (
      this.#cache.get(row.id)?.secret ?? (await unwrapSecret(row.secretGateway, this.#options.encryptionKey, row.id))
    );
  }

  /** Opens stored windows, verifying their tickets again: the database is not trusted to release anything. */
  async openWindows(row: RequestRow, stored: readonly WindowRow[]): Promise<ReleasedWindow[]> {
    if (stored.length === 0) return [];
    const all = await this.#options.db.transaction((tx) => listWindows(tx, row.id, row.attempt));
    const { opened } = await this.#rebuild(row, all);
    const wanted = new Set(stored.map((window) => window.index));
    return opened.filter((window) => wanted.has(window.index));
  }

  async #rebuild(row: RequestRow, windows: readonly WindowRow[]) {
    const secret = await this.secretOf(row);
    const { run, context } = this.#begin(row, readJob(row), secret, "issue");
    if (row.claim) {
      run.verifier.claim(readEnvelope(row.claim));
      run.claimed = true;
    }
    const opened = windows.map((window): ReleasedWindow => {
      const content = open(
        secret,
        { requestId: row.id, kind: "verdict", attempt: window.attempt, index: window.index },
        window.content,
      );
      const ticket = readEnvelope(window.envelope);
      run.verifier.window(ticket, content);
      return { attempt: window.attempt, index: window.index, content, ticket };
    });
    run.next = opened.length;
    // What is stored was in time when it was committed; what comes now is judged by the clock.
    context.at = undefined;
    context.approvedModel = this.#options.approvedModel;
    return { run, opened };
  }

  #begin(row: RequestRow, job: Job, secret: RequestSecret, at?: "issue") {
    const { trust, clock, approvedModel } = this.#options;
    const context: TicketContext = {
      trust,
      requestId: row.id,
      tenant: row.tenant,
      attempt: row.attempt,
      requestDigest: row.requestDigest,
      salt: secret.salt,
      modality: "text",
      clock: () => clock.now(),
      approvedModel: at === "issue" ? () => true : approvedModel,
      at,
    };
    const verifier = new TicketVerifier(context);
    const { door1, review, countersign } = job.admission ?? {};
    verifier.admit(door1!, review && countersign ? { review, countersign } : undefined);
    return {
      run: { requestId: row.id, attempt: row.attempt, row, job, secret, verifier, next: 0, claimed: false } as Run,
      context,
    };
  }
}
