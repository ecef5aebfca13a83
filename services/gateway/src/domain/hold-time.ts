const minHoldMs = 60_000;
/** Less than the day for which door 1's word is good. */
const maxHoldMs = 23 * 3_600_000;

/** How long a held request waits for a person, as policy obliges: a minute at least, 23 hours at most. */
export function boundedHoldMs(obliged: bigint | undefined): number {
  return Math.min(Math.max(Number(obliged ?? 0n), minHoldMs), maxHoldMs);
}
