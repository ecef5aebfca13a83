/** What a service does by itself, again and again, one round at a time: the one way to wait for the next, and to stop. */
import type { Logger } from "./logger.ts";
import { outOfScope } from "./telemetry/scope.ts";

export interface Periodic extends AsyncDisposable {
  /** A round now, or right after the one under way: a round that left something over asks for the next by it. */
  hasten(): void;
}

/**
 * Calls `round` now and each `everyMs`; what it throws is logged as "could not <what>; trying again", once until it changes.
 * Disposing waits for the round under way, and begins no other.
 */
export function periodically(
  log: Pick<Logger, "warn">,
  everyMs: number,
  what: string,
  round: () => Promise<void>,
): Periodic {
  let running: Promise<void> | undefined;
  let [again, closed] = [false, false];
  let problem = "";
  const tell = (err: unknown) => {
    if (String(err) !== problem) log.warn({ err }, `could not ${what}; trying again`);
    problem = String(err);
  };
  const next = async () => {
    // A round that asks for the next one must find itself under way.
    await Promise.resolve();
    try {
      await round();
      problem = "";
    } catch (error) {
      tell(error);
    }
    running = undefined;
    if (again && !closed) run();
    again = false;
  };
  // Of nobody's request, also when one of them asked for it.
  const run = () => {
    running ??= outOfScope(next);
  };
  const timer = setInterval(run, everyMs);
  run();
  return {
    hasten() {
      again = running !== undefined;
      if (!closed) run();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      clearInterval(timer);
      await running;
    },
  };
}
