/** When a call is sent again, and how long to wait before. */
import { setTimeout as sleep } from "node:timers/promises";
import { SallyportError, stoppedBy } from "./errors.ts";

const baseMs = 200;
const maxMs = 5_000;
/** Who is told to wait longer than this is told so, instead of being kept waiting. */
const longestWaitMs = 30_000;

export interface RetryBounds {
  maxRetries: number;
  /** Unix time in milliseconds. */
  deadlineAt: number;
  signal: AbortSignal;
  random?: () => number;
}

/**
 * Milliseconds to wait before retry number `retry` (from 1), or undefined when the failure stands: it is not one that
 * passes, the request has ended (`leafHash`), the bound is reached, or the deadline would be over first.
 */
export function waitBefore(retry: number, error: unknown, bounds: RetryBounds, now = Date.now()): number | undefined {
  if (!(error instanceof SallyportError) || !error.retryable || error.leafHash !== undefined) return undefined;
  if (error.code !== "UNAVAILABLE" && error.code !== "RESOURCE_EXHAUSTED") return undefined;
  if (retry > bounds.maxRetries) return undefined;
  const ceiling = Math.min(maxMs, baseMs * 2 ** (retry - 1));
  const jitter = (bounds.random ?? Math.random)();
  const wait = Math.max(ceiling / 2 + (ceiling / 2) * jitter, (error.retryAfterMs ?? 0) * (1 + jitter / 10));
  return wait > longestWaitMs || now + wait >= bounds.deadlineAt ? undefined : Math.ceil(wait);
}

/** Rejects as the signal says when it aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {
    throw stoppedBy(signal);
  });
}

/** For what may be repeated: reading, and what an idempotency key guards. */
export async function withRetries<T>(bounds: RetryBounds, work: () => Promise<T>): Promise<T> {
  for (let retry = 1; ; retry += 1) {
    try {
      return await work();
    } catch (error) {
      const wait = waitBefore(retry, error, bounds);
      if (wait === undefined) throw error;
      await pause(wait, bounds.signal);
    }
  }
}
