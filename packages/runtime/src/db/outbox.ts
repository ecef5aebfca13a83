/** State change and outgoing message in one transaction; the message is published right after, and until it is safe. */
import type { ServiceName } from "@sallyport/proto/subjects";
import type { Bus } from "../bus/index.ts";
import type { Clock, Ids } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Db } from "./database.ts";
import { GroupCommitter } from "./group-committer.ts";
import { observeOutbox } from "./metrics.ts";
import type { CommitLimits, CommitOptions, Operation } from "./operation.ts";
import { Relay } from "./relay.ts";

export interface Outbox extends AsyncDisposable {
  /**
   * Stores what `run` does through `tx` together with its messages; resolves with its value after COMMIT. Many commits
   * share a transaction; a failing one does not fail its neighbours. `run` may run again, see Operation.
   * Throws what `run` throws (then nothing of it is stored), RESOURCE_EXHAUSTED/OUTBOX_FULL,
   * UNAVAILABLE/DATABASE_UNAVAILABLE (nothing stored), UNAVAILABLE/COMMIT_UNKNOWN (find out before doing it again).
   */
  commit<T>(run: Operation<T>, options?: CommitOptions): Promise<T>;
  /** Boot epoch of this process's audit events. */
  readonly epoch: string;
  /** Operations that wait. */
  readonly depth: number;
}

export interface OutboxOptions {
  db: Db;
  bus: Bus;
  producer: ServiceName;
  ids: Ids;
  clock: Clock;
  log: Logger;
  limits?: Partial<CommitLimits>;
}

/** The tables come with `migrate`. Disposal stores what waits, and leaves what is not yet published to the next start. */
export function createOutbox(options: OutboxOptions): Outbox {
  const relay = new Relay(options);
  const committer = new GroupCommitter({ ...options, onCommitted: (rows) => relay.publish(rows) });
  relay.start();
  const metrics = observeOutbox(options.db, () => committer.depth);
  return {
    commit: (run, options) => committer.commit(run, options),
    get epoch() {
      return committer.epoch;
    },
    get depth() {
      return committer.depth;
    },
    async [Symbol.asyncDispose]() {
      metrics[Symbol.dispose]();
      await committer.close();
      await relay[Symbol.asyncDispose]();
    },
  };
}
