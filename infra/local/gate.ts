import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defaultHome, openHome, REPOSITORY } from "./home.ts";
import { findNatsServer } from "./nats-server/find.ts";

const REPORT_DIR = join(REPOSITORY, ".turbo", "reports");
/** `generate` is for authors: here `check` fails when what is committed is not what it would make. */
const CHECKS = ["check", "lint", "build"];
const OPTIONS = ["--env-mode=loose", "--no-update-notifier", "--log-order=stream", "--concurrency=2", "--continue"];

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * `npm test`: the whole gate, or with paths only the tests there. The last line printed is
 * `N passed, N failed, N skipped`; resolves with the exit code.
 */
export async function runGate(paths: readonly string[]): Promise<number> {
  rmSync(REPORT_DIR, { recursive: true, force: true });
  mkdirSync(REPORT_DIR, { recursive: true });
  const checks = paths.length > 0 ? 0 : await run("turbo", ["run", ...CHECKS, ...OPTIONS]);
  // Before the test files, which run side by side, would each look for one.
  await findNatsServer({ cacheDir: openHome(defaultHome()).binDir, log: console.log });
  const tests = paths.length > 0 ? await runTests(paths) : await run("turbo", ["run", "test", ...OPTIONS]);
  if (checks !== 0) console.log("The checks failed: see their output above the tests'.");
  const { passed, failed, skipped } = readCounts(REPORT_DIR);
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  // A gate that ran no test has not passed.
  return checks || tests || (failed > 0 || passed === 0 ? 1 : 0);
}

/** Tests that boot a whole platform have the machine to themselves; the others share it. */
const PARTS = {
  units: ["--exclude", "infra/**", "--exclude", "test/**"],
  system: ["proto", "packages", "services", "models"]
    .flatMap((dir) => ["--exclude", `${dir}/**`])
    .concat("--no-file-parallelism"),
};

/** vitest with its own output for people and a JSON report for the count; without paths everything, in two parts. */
export async function runTests(paths: readonly string[]): Promise<number> {
  if (paths.length > 0) return vitest("paths", paths);
  const units = await vitest("units", PARTS.units);
  const system = await vitest("system", PARTS.system);
  return units || system;
}

function vitest(part: string, args: readonly string[]): Promise<number> {
  const reports = ["--reporter=default", "--reporter=json", `--outputFile.json=${join(REPORT_DIR, `${part}.json`)}`];
  return run("vitest", ["run", ...reports, ...args]);
}

/** Sums the reports of vitest's JSON reporter in a folder; a file that could not be loaded counts as one failed test. */
export function readCounts(dir: string): Counts {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const name of readdirSync(dir).filter((file) => file.endsWith(".json"))) {
    const { passed, failed, skipped } = readReport(join(dir, name));
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped += skipped;
  }
  return sum;
}

function readReport(file: string): Counts {
  const report = JSON.parse(readFileSync(file, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    numTodoTests: number;
    testResults: { status: string; assertionResults: { status: string }[] }[];
  };
  const broken = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function run(command: string, args: readonly string[]): Promise<number> {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" };
  return new Promise((resolve, reject) => {
    const child = spawn(join(REPOSITORY, "node_modules", ".bin", command), args, {
      cwd: REPOSITORY,
      env,
      stdio: "inherit",
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
