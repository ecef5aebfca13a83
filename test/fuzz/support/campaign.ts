/**
 * Bounded, seeded rounds of generated cases: a fixed seed, and one that is new in each run and printed.
 * SALLYPORT_FUZZ_ROUNDS multiplies the cases (default 1), SALLYPORT_FUZZ_SEED repeats one seed alone.
 */
import { randomInt } from "node:crypto";
import fc, { type Arbitrary } from "fast-check";

export const rounds = Number(process.env.SALLYPORT_FUZZ_ROUNDS ?? 1);
const { SALLYPORT_FUZZ_SEED: given } = process.env;
export const seeds = given === undefined ? [1, randomInt(2 ** 31)] : [Number(given)];

export interface CampaignOptions {
  /** For each seed and round. */
  cases: number;
  /** Cases under way at a time. */
  atOnce?: number;
}

/** Outcome → how many cases had it. */
export type Tally = Map<string, number>;

/** Runs `check` on each case; it gives the case's outcome a name, or throws. The error names seed and case. */
export async function campaign<T>(
  name: string,
  arbitrary: Arbitrary<T>,
  { cases, atOnce = 1 }: CampaignOptions,
  check: (value: T) => Promise<string> | string,
): Promise<Tally> {
  const startedAt = performance.now();
  const tally: Tally = new Map();
  for (const seed of seeds) {
    const values = fc.sample(arbitrary, { seed, numRuns: cases * rounds });
    let next = 0;
    const work = async () => {
      for (let at = next++; at < values.length; at = next++) {
        const outcome = await tried(check, values[at]!, () => `${name}, seed ${seed}, case ${at}: ${show(values[at])}`);
        tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
  }
  report(name, tally, performance.now() - startedAt);
  return tally;
}

async function tried<T>(check: (value: T) => Promise<string> | string, value: T, where: () => string): Promise<string> {
  try {
    return await check(value);
  } catch (cause) {
    throw new Error(`${(cause as Error).message}\n${where()}`, { cause });
  }
}

function report(name: string, tally: Tally, ms: number): void {
  const count = [...tally.values()].reduce((sum, each) => sum + each, 0);
  const commonest = [...tally].sort(([, a], [, b]) => b - a).slice(0, 12);
  const outcomes = commonest.map(([outcome, times]) => `${outcome} ×${times}`).join(", ");
  console.info(
    `fuzz ${name}: ${count} cases in ${(ms / 1_000).toFixed(1)} s, seeds ${seeds.join(" and ")}: ${outcomes}`,
  );
}

/** Bytes as base64 and message types by name, so that a case can be had again exactly; never more than a screen of it. */
export function show(value: unknown): string {
  // `this`, because a Buffer has already become something else when it is handed over.
  const text = JSON.stringify(value, function (this: Record<string, unknown>, key, inner) {
    const own = this[key];
    if (typeof own === "object" && own !== null && "typeName" in own) return own.typeName;
    if (own instanceof Uint8Array) return Buffer.from(own).toString("base64");
    return typeof inner === "bigint" ? `${inner}n` : inner;
  });
  return (text ?? String(value)).slice(0, 1_000);
}
