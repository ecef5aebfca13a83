// The command line behind `npm start`, `npm test` and `npm run demo`.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runGate } from "./gate.ts";
import { REPOSITORY } from "./home.ts";
import { HomeInUse } from "./process/lock.ts";
import { statusCommand, stopCommand } from "./running.ts";
import { startCommand } from "./start.ts";

const USAGE = `usage: npm start [-- --port-base N] [-- --home DIR]    start the platform; Ctrl-C stops it
       npm test                                         the whole gate: check what is generated, lint, build, test
       npm run demo                                     a tour of the running platform
       npm run bench [-- --json FILE] [-- --quick]      what the platform adds to a call, beside a peer; docs/benchmarks.md
       npm run test:fault [-- --seed S] [-- --seeds N] [-- --minutes M]    seeded faults, and the promises checked; docs/design/fault-suite.md
       npm run status | npm run stop                    of the platform that runs on this home`;

/** Exit codes: 0 done, 1 failed, 2 another runner holds the home, 64 wrong usage. */
async function main(args: string[]): Promise<number> {
  const [command = "start", ...rest] = args;
  if (command === "test") return runGate(rest);
  if (command === "demo") return runScript("demo", rest);
  if (command === "bench") return runScript("bench", rest);
  if (command === "test-fault") return runScript("fault", rest);
  const { values } = parseArgs({
    args: rest,
    options: { "port-base": { type: "string" }, home: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return usage(0);
  const portBase = values["port-base"] === undefined ? undefined : Number(values["port-base"]);
  if (command === "start") return startCommand({ portBase, home: values.home });
  if (command === "status") return statusCommand(values.home);
  if (command === "stop") return stopCommand(values.home);
  return usage(64);
}

function usage(code: number): number {
  (code === 0 ? console.log : console.error)(USAGE);
  return code;
}

/** A program of test/, with its own arguments; signals are passed on. */
function runScript(name: "demo" | "bench" | "fault", args: string[]): Promise<number> {
  const script = join(REPOSITORY, "test", name, "main.ts");
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, ...args], {
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  const isUsage = (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
  process.exitCode = error instanceof HomeInUse ? 2 : isUsage ? usage(64) : 1;
}
