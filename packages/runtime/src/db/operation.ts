/** What is committed together with others: an operation, its result, and the bounds that it waits within. */
import type { Tx } from "./database.ts";
import type { AuditPlaces, OutboxMessage } from "./outbox-messages.ts";

export interface Committed<T> {
  value: T;
  messages: OutboxMessage[];
  /** Documents that places were taken but are not needed; the next operation gets them. */
  places?: "unused";
}

/**
 * May run more than once (a neighbour failed, the connection broke), and then only one of its runs counts: so it works
 * through `tx` alone, keeps its statements guarded, and awaits nothing else.
 */
export type Operation<T> = (tx: Tx, places: AuditPlaces) => Promise<Committed<T>>;

export interface CommitOptions {
  /**
   * The operation takes its places and sends all its statements before it awaits any of them: then the operations beside it
   * that do so too need not wait for its answers. Statements stay in order.
   */
  pipelined?: boolean;
}

export interface CommitLimits {
  /** Operations that may wait (10,000). */
  queue: number;
  /** Operations in one transaction (128). */
  group: number;
  /** An operation that has not been stored by then is refused, or COMMIT_UNKNOWN (15 s). */
  withinMs: number;
  /** When the recovery poll takes a row over (5 s). */
  confirmWithinMs: number;
}

export const commitLimits: CommitLimits = { queue: 10_000, group: 128, withinMs: 15_000, confirmWithinMs: 5_000 };
