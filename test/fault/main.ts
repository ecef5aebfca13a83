// `npm run test:fault -- [--seeds N] [--seed S] [--minutes M]`: seeds one after the other on one platform, until they are
// all done or the time is up; exit code 1 on the first violation.
import { parseArgs } from "node:util";
import { runSeed, type SeedReport } from "./seeded/run-seed.ts";
import { kinds } from "./seeded/schedule.ts";
import { describeSeed, describeViolations } from "./seeded/words.ts";
import { createWorld } from "./seeded/world.ts";

const options = {
  seed: { type: "string" },
  seeds: { type: "string" },
  minutes: { type: "string" },
} as const;

/** The first ends the run after its seed; a second one at once: the watchdog ends the platform then. */
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(130);
    console.log("stopping after this seed");
    stop.abort();
  });

const minuteMs = 60_000;
const defaultSeeds = 20;

function readNumber(name: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const value = Number(given);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`--${name} takes a whole number from 1, not ${given}`);
  return value;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options });
  const [seed, seeds, minutes] = [values.seed, values.seeds, values.minutes].map((given, at) =>
    readNumber(["seed", "seeds", "minutes"][at]!, given),
  );
  const first = seed ?? (Date.now() % 1_000_000) + 1;
  const count = seeds ?? (minutes !== undefined ? Number.POSITIVE_INFINITY : seed !== undefined ? 1 : defaultSeeds);
  const endsAt = minutes === undefined ? Number.POSITIVE_INFINITY : performance.now() + minutes * minuteMs;
  console.log(`seeds from ${first}${Number.isFinite(count) ? `, ${count} of them` : ""}; starting a platform`);
  await using world = await createWorld();
  if (typeof world.disks === "string") console.log(`no faults of disks: ${world.disks}`);
  const done: SeedReport[] = [];
  for (let n = 0; n < count && performance.now() < endsAt && !stop.signal.aborted; n++) {
    const report = await runSeed(world, first + n);
    done.push(report);
    console.log(describeSeed(report));
    if (report.violations.length === 0) continue;
    console.error(describeViolations(report));
    return 1;
  }
  console.log(summary(done));
  return 0;
}

function summary(reports: readonly SeedReport[]): string {
  const steps = reports.flatMap((report) => report.steps);
  const lines = kinds.map(({ name }) => {
    const own = steps.filter((step) => step.name === name);
    return `  ${name}: ${own.filter(({ missed }) => missed === undefined).length} of ${own.length}`;
  });
  const sum = (of: (report: SeedReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  const calls = sum((report) => report.calls);
  return [
    `${reports.length} seeds, ${steps.length} faults, ${calls} calls, ${sum(({ heard }) => heard)} characters heard: no violation`,
    "faults that took place, of those in the schedules:",
    ...lines,
  ].join("\n");
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  return 1;
});
