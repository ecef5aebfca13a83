/** What the process itself uses (USE): memory, CPU, event loop, open files; and which build runs. */
import { performance } from "node:perf_hooks";
import { collectDefaultMetrics } from "prom-client";
import runtime from "../../package.json" with { type: "json" };
import { gauge, metricsRegistry, observeValue } from "./metrics.ts";

let started = false;

/** Once a process; further calls do nothing. */
export function startProcessMetrics(): void {
  if (started) return;
  started = true;
  // Each look costs a wake-up: fifty a second are enough to see a loop that hangs.
  collectDefaultMetrics({ register: metricsRegistry, eventLoopMonitoringPrecision: 20 });
  let before = performance.eventLoopUtilization();
  observeValue(
    "sallyport_event_loop_utilisation",
    "Share of time in which the event loop was busy, since the last scrape.",
    () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
  );
  const build = gauge("sallyport_build_info", "1; which version runs, and on which Node.js.", ["version", "node"]);
  build.set({ version: runtime.version, node: process.version }, 1);
}
