/**
 * Where the time of a request goes: the platform's own spans, in a platform of its own whose services export them, one caller.
 * Exporting takes time of its own, so the whole is slower than without; what is told is where a hop begins and how long it takes.
 */
import { join } from "node:path";
import { services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { type CollectedSpan, startCollector } from "../kit/collector.ts";
import { startLoadGenerator, startModelServer } from "./children.ts";
import type { BenchContext } from "./latency.ts";
import { approveBenchModel, start } from "./platform.ts";
import { median } from "./statistics.ts";
import { sallyport } from "./targets.ts";

export interface Hop {
  readonly service: string;
  readonly name: string;
  /** Medians over the traces, milliseconds: from the request's first span on, and how long. */
  readonly beginsMs: number;
  readonly tookMs: number;
  /** How many of the traces have it. */
  readonly share: number;
}

const warmUp = 300;
const measured = 200;
const forMs = 120_000;

export async function measureHops(context: BenchContext): Promise<Hop[]> {
  const { options, home, signal, tell } = context;
  await using stack = new AsyncDisposableStack();
  const modelServer = stack.use(await startModelServer(options.tokens, options.delayMs));
  const generator = stack.use(await startLoadGenerator());
  const collector = stack.use(await startCollector());
  tell("hops: starting a platform whose services export their spans");
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  const outside = services.filter((service) => service !== "inference-worker");
  const extraEnv = Object.fromEntries(outside.map((service) => [service, env]));
  const at = { home: join(home, "hops"), portBase: options.portBase + 1_000, modelServer: modelServer.url, extraEnv };
  const { platform } = await start(at, signal);
  stack.defer(() => platform.stop());
  await approveBenchModel(platform);
  const load = (requests: number) =>
    generator.measure({ target: sallyport(platform), concurrency: 1, forMs, requests, stream: false });
  await load(warmUp);
  const since = BigInt(Date.now()) * 1_000_000n;
  tell(`hops: ${measured} requests`);
  await load(measured);
  let before = -1;
  const settled = () => {
    const isSame = before === collector.spans.length;
    before = collector.spans.length;
    return isSame;
  };
  await waitFor("all spans", settled, { timeoutMs: 60_000, everyMs: 6_000 });
  return hopsOf(collector.spans.filter((span) => span.start >= since));
}

/** Spans of one name in one trace are told apart by their order. */
export function hopsOf(spans: readonly CollectedSpan[]): Hop[] {
  const traces = [...Map.groupBy(spans, ({ traceId }) => traceId).values()].filter(isRequest);
  const seen = new Map<string, { service: string; name: string; begins: number[]; took: number[] }>();
  for (const trace of traces) {
    const sorted = trace.toSorted((a, b) => Number(a.start - b.start));
    const first = sorted[0]!.start;
    const counts = new Map<string, number>();
    for (const { service, name, start, end } of sorted) {
      const count = (counts.get(`${service} ${name}`) ?? 0) + 1;
      counts.set(`${service} ${name}`, count);
      const key = `${service} ${name} ${count}`;
      const hop = seen.get(key) ?? { service, name: count > 1 ? `${name} (${count})` : name, begins: [], took: [] };
      hop.begins.push(millis(start - first));
      hop.took.push(millis(end - start));
      seen.set(key, hop);
    }
  }
  return [...seen.values()]
    .map(({ begins, took, ...hop }) => ({
      ...hop,
      beginsMs: median(begins),
      tookMs: median(took),
      share: took.length / traces.length,
    }))
    .filter(({ share }) => share >= rareShare)
    .sort((a, b) => a.beginsMs - b.beginsMs);
}

const rareShare = 0.5;
const isRequest = (trace: readonly CollectedSpan[]) =>
  trace.some(({ service, parentSpanId }) => service === "gateway" && parentSpanId === "");
const millis = (nanoseconds: bigint) => Number(nanoseconds) / 1e6;
