/**
 * The metrics of this process, as Prometheus text. A metric is defined once, beside the code that counts, in one line:
 *
 *     const refused = counter("sallyport_limits_refused_total", "Requests over a limit.", ["limit"]);
 *     refused.inc({ limit: "concurrency" });
 *
 * Labels are for closed sets (a code, a stage, a stream), never for a tenant, a subject or an id. That is enforced: a value
 * that does not look like a name, and every combination after the 300th, counts as "other".
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

const registry = new Registry();
const definitions = new Map<string, unknown>();
const readers = new Map<string, Set<() => Promise<void>>>();

export type Labels<Name extends string> = Readonly<Record<Name, string>>;

export interface CounterMetric<Name extends string> {
  inc(labels: Labels<Name>, by?: number): void;
}
export interface GaugeMetric<Name extends string> {
  set(labels: Labels<Name>, value: number): void;
  /** Forgets this combination of labels: it is no longer shown. */
  remove(labels: Labels<Name>): void;
}
export interface HistogramMetric<Name extends string> {
  observe(labels: Labels<Name>, value: number): void;
}
export interface Reading<Name extends string> {
  readonly labels: Labels<Name>;
  readonly value: number;
}

/** Seconds: of a call between parts, and of what a model or a person takes part in. */
export const callBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
export const requestBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

const maxCombinations = 300;
const readWithinMs = 1_000;
const valueForm = /^[\w.:/*=-]{0,80}$/;
const other = "other";

const unread = counter("sallyport_readings_failed_total", "Readings that failed or were late, and so were left out.", [
  "metric",
]);

/** The registry itself, for what feeds it by its own means. */
export const metricsRegistry = registry;

export function counter<const Name extends string = never>(
  name: `${string}_total`,
  help: string,
  labelNames: readonly Name[] = [],
): CounterMetric<Name> {
  return define(name, () => {
    const metric = new Counter<string>({ name, help, labelNames: [...labelNames], registers: [registry] });
    const bounded = boundLabels(labelNames);
    return { inc: (labels, by = 1) => metric.inc(bounded(labels), by) };
  });
}

export function gauge<const Name extends string = never>(
  name: string,
  help: string,
  labelNames: readonly Name[] = [],
): GaugeMetric<Name> {
  return define(name, () => {
    const metric = new Gauge<string>({ name, help, labelNames: [...labelNames], registers: [registry] });
    const bounded = boundLabels(labelNames);
    return {
      set: (labels, value) => metric.set(bounded(labels), value),
      remove: (labels) => metric.remove(bounded(labels)),
    };
  });
}

export function histogram<const Name extends string = never>(
  name: `${string}_${"seconds" | "bytes" | "operations" | "tokens"}`,
  help: string,
  labelNames: readonly Name[] = [],
  buckets: readonly number[] = callBuckets,
): HistogramMetric<Name> {
  return define(name, () => {
    const metric = new Histogram<string>({
      ...{ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] },
    });
    const bounded = boundLabels(labelNames);
    return { observe: (labels, value) => metric.observe(bounded(labels), value) };
  });
}

/**
 * A gauge whose values are read at each scrape, until disposed. A reading that fails or takes longer than a second is left
 * out, rather than guessed.
 */
export function observe<const Name extends string = never>(
  name: string,
  help: string,
  labelNames: readonly Name[],
  read: () => readonly Reading<Name>[] | Promise<readonly Reading<Name>[]>,
): Disposable {
  const metric = define(name, () => {
    const bounded = boundLabels(labelNames);
    const all = new Set<() => Promise<void>>();
    readers.set(name, all);
    const made: Gauge<string> = new Gauge<string>({
      ...{ name, help, labelNames: [...labelNames], registers: [registry] },
      // Two scrapes at once share one reading: neither empties what the other is about to show.
      collect: () => (reading ??= collect().finally(() => (reading = undefined))),
    });
    let reading: Promise<void> | undefined;
    const collect = async () => {
      made.reset();
      // prom-client gives a gauge without labels the value 0 when reset: nothing was read yet.
      if (labelNames.length === 0) made.remove();
      await Promise.all([...all].map((one) => one()));
    };
    return { set: (labels: Labels<Name>, value: number) => made.set(bounded(labels), value) };
  });
  const fill = async () => {
    const readings = await within(readWithinMs, async () => read()).catch(() => {
      unread.inc({ metric: name });
      return [];
    });
    for (const { labels, value } of readings) if (!Number.isNaN(value)) metric.set(labels, value);
  };
  readers.get(name)?.add(fill);
  return { [Symbol.dispose]: () => void readers.get(name)?.delete(fill) };
}

/** `observe` of one value without labels. */
export function observeValue(name: string, help: string, read: () => number | Promise<number>): Disposable {
  return observe(name, help, [], async () => [{ labels: {}, value: await read() }]);
}

/** Seconds on a monotonic clock since `startedAt` (performance.now). */
export function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1_000;
}

/** Every metric says which service it is about, also when another one passes it on. */
export function nameMetrics(component: string): void {
  registry.setDefaultLabels({ component });
}

export function metricsText(): Promise<string> {
  return registry.metrics();
}

function define<T>(name: string, make: () => T): T {
  const known = definitions.get(name) as T | undefined;
  if (known !== undefined) return known;
  const made = make();
  definitions.set(name, made);
  return made;
}

function boundLabels<Name extends string>(names: readonly Name[]): (labels: Labels<Name>) => Record<string, string> {
  const seen = new Set<string>();
  const rest = Object.fromEntries(names.map((name) => [name, other]));
  return (labels) => {
    let key = "";
    for (const name of names) key += `${labels[name]}\n`;
    if (seen.has(key)) return labels;
    const sound = Object.fromEntries(names.map((name) => [name, valueForm.test(labels[name]) ? labels[name] : other]));
    if (Object.values<string>(sound).includes(other)) return sound;
    if (seen.size >= maxCombinations) return rest;
    seen.add(key);
    return sound;
  };
}

async function within<T>(ms: number, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("late")), ms);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
