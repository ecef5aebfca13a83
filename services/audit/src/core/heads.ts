import type { Queryable } from "@sallyport/runtime";
import { type Head, readHead } from "../db/log.ts";

/** How long a follower may miss a head that another replica has signed. */
const lookAgainMs = 1_000;

/** Tells those who follow the log that it has grown. */
export interface Heads {
  /** The newest committed head. */
  read(): Promise<Head>;
  /** Called by the appender after a commit. */
  announce(): void;
  /** Resolves with a head larger than `size`. Rejects with the signal's reason. */
  beyond(size: number, signal: AbortSignal): Promise<Head>;
}

export function createHeads(db: Queryable): Heads {
  const wakers = new Set<() => void>();

  async function read(): Promise<Head> {
    const head = await readHead(db);
    if (head === undefined) throw new Error("the log was not made");
    return head;
  }

  function nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => () => {
        wakers.delete(wake);
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        settle();
      };
      const wake = done(resolve);
      const abort = done(() => reject(signal.reason));
      const timer = setTimeout(wake, lookAgainMs);
      wakers.add(wake);
      signal.addEventListener("abort", abort, { once: true });
    });
  }

  return {
    read,
    announce() {
      for (const wake of [...wakers]) wake();
    },
    async beyond(size, signal) {
      for (;;) {
        signal.throwIfAborted();
        const changed = nextChange(signal);
        const head = await read();
        if (head.frontier.size > size) {
          changed.catch(() => undefined);
          return head;
        }
        await changed;
      }
    },
  };
}
