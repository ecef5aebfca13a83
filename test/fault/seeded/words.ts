/** A seed's run in words: what was done, what came of it, and how to do it again. */
import type { SeedReport } from "./run-seed.ts";

export function describeSeed({ seed, steps, calls, states, errors, violations, tookMs }: SeedReport): string {
  const inWords = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ");
  return [
    `seed ${seed}: ${(tookMs / 1_000).toFixed(0)} s, ${calls} calls (${inWords(states)}), ${violations.length} violations`,
    `  errors: ${inWords(errors)}`,
    ...steps.map(({ what, missed }) => `  ${what}${missed === undefined ? "" : ` (did not take place: ${missed})`}`),
  ].join("\n");
}

const shown = 20;

export function describeViolations({ seed, violations }: Pick<SeedReport, "seed" | "violations">): string {
  return [
    `seed ${seed} broke promises; again: npm run test:fault -- --seed ${seed}`,
    ...violations
      .slice(0, shown)
      .map(({ promise, what, requestId }) => `  ${promise}: ${what} ${requestId ?? ""}`.trimEnd()),
    ...(violations.length > shown ? [`  … and ${violations.length - shown} more`] : []),
  ].join("\n");
}
