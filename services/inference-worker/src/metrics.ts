/** What the worker counts. Each is in the chamber's table (names, labels, help), or it would not get out. */
import {
  type CounterMetric,
  chamberMetrics,
  counter,
  histogram,
  observe,
  observeValue,
  runBuckets,
} from "@sallyport/runtime";
import type { Config } from "./config.ts";
import type { ModelPool } from "./core/model-pool.ts";
import type { RunRegistry } from "./core/run-registry.ts";

const help = (name: string) => chamberMetrics[name]!.help;
const countOf = <const Label extends string = never>(
  name: `${string}_total`,
  labels: readonly Label[] = [],
): CounterMetric<Label> => counter(name, help(name), labels);
const secondsOf = (name: `${string}_seconds`) => histogram(name, help(name), [], runBuckets);

const runs = countOf("sallyport_worker_runs_total", ["outcome"]);
const tokens = countOf("sallyport_worker_tokens_total", ["model"]);
const windows = countOf("sallyport_worker_windows_total");
const restarts = countOf("sallyport_worker_engine_restarts_total", ["model"]);
const runSeconds = secondsOf("sallyport_worker_run_seconds");
const firstToken = secondsOf("sallyport_worker_first_token_seconds");

export function countRun(outcome: string): void {
  runs.inc({ outcome });
}

export function countDone(model: string, generated: number, ms: number): void {
  countRun("done");
  tokens.inc({ model }, generated);
  runSeconds.observe({}, ms / 1_000);
}

export function countFirstToken(ms: number): void {
  firstToken.observe({}, ms / 1_000);
}

export function countWindow(): void {
  windows.inc({});
}

export function countEngineDeath(model: string): void {
  restarts.inc({ model });
}

export interface Observed {
  readonly runs: RunRegistry;
  readonly models: Pick<ModelPool, "states">;
  readonly config: Config;
}

/** What is read at each scrape. */
export function observeWorker({ runs: running, models, config }: Observed): Disposable {
  const stack = new DisposableStack();
  const value = (name: string, read: () => number) => stack.use(observeValue(name, help(name), read));
  const perModel = (name: string, read: (state: ModelPool["states"][number]) => number) =>
    stack.use(
      observe(name, help(name), ["model"], () =>
        models.states.map((state) => ({ labels: { model: state.name }, value: read(state) })),
      ),
    );
  value("sallyport_worker_running", () => running.size);
  perModel("sallyport_worker_sequences", () => config.sequences);
  perModel("sallyport_worker_engine_ready", ({ ready }) => (ready ? 1 : 0));
  value("sallyport_worker_resident_memory_bytes", () => process.memoryUsage.rss());
  let before = performance.eventLoopUtilization();
  value("sallyport_worker_event_loop_utilisation", () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  });
  stack.use(observeCpu());
  return stack;
}

/** A counter of the chamber, filled from what the system counts. */
function observeCpu(): Disposable {
  const name = "sallyport_worker_cpu_seconds_total";
  const used = countOf(name);
  let counted = 0;
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage();
    const total = (user + system) / 1e6;
    used.inc({}, Math.max(0, total - counted));
    counted = total;
  }, 1_000).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
