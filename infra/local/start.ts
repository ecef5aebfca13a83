import { type Platform, startPlatform } from "./platform.ts";
import { platformSummary } from "./summary.ts";

const SECOND_SIGNAL_AFTER_MS = 1_000;

/** `npm start`: starts, tells, waits for Ctrl-C, stops. Resolves with the exit code. */
export async function startCommand(options: { portBase?: number; home?: string }): Promise<number> {
  const started = performance.now();
  const stopping = new AbortController();
  onSignals(stopping);
  // The terminal may be gone before the platform is.
  process.stdout.on("error", () => stopping.abort());
  const log = (line: string) =>
    console.log(`[${((performance.now() - started) / 1_000).toFixed(1).padStart(5)} s] ${line}`);
  let platform: Platform;
  try {
    platform = await startPlatform({ ...options, log, signal: stopping.signal });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    console.log("Stopped before it was up.");
    return 130;
  }
  console.log(platformSummary(platform, (performance.now() - started) / 1_000));
  if (!stopping.signal.aborted) await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve));
  console.log("\nStopping …");
  await platform.stop();
  console.log("Stopped. Everything is kept; `npm start` goes on from here.");
  return 0;
}

/** The first signal stops in order; one that comes later gives up waiting, and the watchdog ends the children. */
function onSignals(stopping: AbortController): void {
  let first = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (first === 0) {
        first = performance.now();
        stopping.abort(new Error(signal));
      } else if (performance.now() - first > SECOND_SIGNAL_AFTER_MS) {
        process.exit(1);
      }
    });
  }
}
