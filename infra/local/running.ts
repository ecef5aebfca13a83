import { join } from "node:path";
import type { Endpoints } from "./endpoints.ts";
import { readJson } from "./files.ts";
import { defaultHome } from "./home.ts";
import { isAlive, type ProcessId } from "./process/identity.ts";
import { waitReady } from "./readiness.ts";

const STOP_TIMEOUT_MS = 60_000;
const STATUS_TIMEOUT_MS = 1_500;
const POLL_MS = 100;

/** Tells a runner in another terminal to stop, and waits. 0 also when nothing ran. */
export async function stopCommand(home = defaultHome()): Promise<number> {
  const runner = runnerOf(home);
  if (!runner) {
    console.log(`Nothing runs on ${home}.`);
    return 0;
  }
  process.kill(runner.pid, "SIGTERM");
  for (const end = Date.now() + STOP_TIMEOUT_MS; Date.now() < end; await new Promise((r) => setTimeout(r, POLL_MS))) {
    if (!isAlive(runner)) {
      console.log("Stopped.");
      return 0;
    }
  }
  console.error(`Process ${runner.pid} did not stop within ${STOP_TIMEOUT_MS / 1000} s.`);
  return 1;
}

/** 0 when everything is ready, 1 when something is not, 2 when nothing runs. */
export async function statusCommand(home = defaultHome()): Promise<number> {
  const endpoints = readJson<Endpoints>(join(home, "endpoints.json"));
  if (!runnerOf(home) || !endpoints) {
    console.log(`Nothing runs on ${home}.`);
    return 2;
  }
  const states = await Promise.all(
    Object.entries(endpoints.health).map(async ([name, url]) => {
      const problem = await waitReady({ [name]: url }, STATUS_TIMEOUT_MS).then(
        () => undefined,
        (error: Error) => error.message,
      );
      console.log(`${name.padEnd(18)} ${problem === undefined ? "ready" : problem}`);
      return problem === undefined;
    }),
  );
  return states.every(Boolean) ? 0 : 1;
}

function runnerOf(home: string): ProcessId | undefined {
  const holder = readJson<ProcessId>(join(home, "run", "lock"));
  return holder && isAlive(holder) ? holder : undefined;
}
