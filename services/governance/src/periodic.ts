/** What governance does by itself, again and again, one round at a time. */
import type { Logger } from "@sallyport/runtime";

export interface Periodic extends AsyncDisposable {
  /** A round now, or right after the one under way. */
  hasten(): void;
}

/** Calls `round` each `everyMs`; what it throws is logged as "could not <what>; trying again", once until it changes. */
export function periodically(log: Logger, everyMs: number, what: string, round: () => Promise<void>): Periodic {
  let running: Promise<void> | undefined;
  let [again, closed] = [false, false];
  let problem = "";
  const tell = (err: unknown) => {
    const told = String(err);
    if (told !== problem) log.warn({ err }, `could not ${what}; trying again`);
    problem = told;
  };
  const run = () => {
    running ??= round()
      .then(() => {
        problem = "";
      }, tell)
      .finally(() => {
        running = undefined;
        if (again && !closed) run();
        again = false;
      });
  };
  const timer = setInterval(run, everyMs);
  return {
    hasten() {
      again = running !== undefined;
      run();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      clearInterval(timer);
      await running;
    },
  };
}
