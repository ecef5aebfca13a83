/** Time, randomness and ids come in through these, so that tests freeze them. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export interface Clock {
  now(): Date;
}

export interface Ids {
  /** UUIDv7 (RFC 9562), lower case: sorts by time. */
  uuid(): string;
  /** Cryptographically random. */
  bytes(count: number): Uint8Array;
}

export const systemClock: Clock = { now: () => new Date() };

export function createIds(clock: Clock, bytes: (count: number) => Uint8Array): Ids {
  return { uuid: () => uuidV7(clock.now().getTime(), bytes(10)), bytes };
}

export const systemIds: Ids = createIds(systemClock, (count) => new Uint8Array(randomBytes(count)));

/** `timeMs` in 48 bits, then 74 of the 80 random bits. */
function uuidV7(timeMs: number, random: Uint8Array): string {
  const raw = Buffer.alloc(16);
  raw.writeUIntBE(timeMs, 0, 6);
  raw.set(random.subarray(0, 10), 6);
  raw[6] = 0x70 | (raw[6]! & 0x0f);
  raw[8] = 0x80 | (raw[8]! & 0x3f);
  const hex = raw.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export interface BackoffOptions {
  baseMs: number;
  maxMs: number;
  random?: () => number;
}

/** Wait before retry number `attempt` (from 1): doubling, bounded, the upper half of it random. */
export function backoff(attempt: number, { baseMs, maxMs, random = Math.random }: BackoffOptions): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

/** Resolves after `ms`; rejects with an AbortError as soon as `signal` aborts. */
export async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {});
}
