import { setTimeout as sleep } from "node:timers/promises";

export interface WaitOptions {
  timeoutMs?: number;
  everyMs?: number;
}

/**
 * Resolves with the first value of `probe` that is neither false, null nor undefined. Throws after `timeoutMs` (10 s)
 * with `what` and, where the probe kept throwing, its last error as cause.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 20 }: WaitOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const endsAt = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const value = await probe();
      if (value !== false && value !== null && value !== undefined)
        return value as Exclude<T, false | null | undefined>;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(everyMs);
  } while (performance.now() < endsAt);
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
}
