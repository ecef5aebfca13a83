/**
 * Sends spans to an OpenTelemetry collector (OTLP over HTTP, protobuf). The SDK is loaded only when this is called: without
 * a collector it costs neither memory nor time.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import runtime from "../../package.json" with { type: "json" };
import type { Logger } from "../logger.ts";
import { counter } from "./metrics.ts";
import type { SpanRecord } from "./span-record.ts";
import { setSampling } from "./spans.ts";

export interface TracingConfig {
  /** Base URL of the collector; `/v1/traces` is added. Undefined: nothing is exported. */
  readonly endpoint: string | undefined;
  /** PEM of the CA that the collector's certificate must come from; undefined: the system's. */
  readonly caFile: string | undefined;
  /** Share of requests that are traced, 0 to 1. */
  readonly ratio: number;
}

export interface TraceExport extends AsyncDisposable {
  /** Passes on what another service has recorded. */
  forward(span: SpanRecord, service: string): void;
}

const flushWithinMs = 2_000;
const exportEveryMs = 1_000;
const exportWithinMs = 5_000;
const maxQueued = 4_096;
const exported = counter("sallyport_spans_exported_total", "Spans sent to the collector, or lost on the way.", [
  "outcome",
]);

let current: TraceExport | undefined;

/** Undefined while nothing is exported. */
export function traceExport(): TraceExport | undefined {
  return current;
}

/** Resolves with what stops it: sends what waits, within 2 s. A collector that is away costs spans, nothing else. */
export async function startTracing(service: string, config: TracingConfig, log: Logger): Promise<AsyncDisposable> {
  const { endpoint, caFile, ratio } = config;
  if (endpoint === undefined) return { [Symbol.asyncDispose]: async () => {} };
  const [{ NodeSDK }, { OTLPTraceExporter }, sdkTrace, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/resources"),
  ]);
  const { toReadableSpan } = await import("./readable-span.ts");
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, "")}/v1/traces`,
    timeoutMillis: exportWithinMs,
    ...(caFile !== undefined && { httpAgentOptions: { ca: readFileSync(caFile), keepAlive: true } }),
  });
  const send = exporter.export.bind(exporter);
  let failing = false;
  exporter.export = (spans, done) =>
    send(spans, (result) => {
      exported.inc({ outcome: result.code === 0 ? "sent" : "lost" }, spans.length);
      if (result.code !== 0 && !failing) log.warn({ err: result.error }, "the collector takes no spans");
      failing = result.code !== 0;
      done(result);
    });
  const resource = resourceFromAttributes({
    "service.name": service,
    "service.namespace": "sallyport",
    "service.version": runtime.version,
    "service.instance.id": randomUUID(),
  });
  const batches = new sdkTrace.BatchSpanProcessor({
    exporter,
    maxQueueSize: maxQueued,
    scheduledDelayMillis: exportEveryMs,
    exportTimeoutMillis: exportWithinMs,
  });
  const sdk = new NodeSDK({
    ...{ resource, autoDetectResources: false, instrumentations: [], metricReaders: [], logRecordProcessors: [] },
    textMapPropagator: null,
    spanProcessors: [batches],
    // Decided where a call came in (an edge span); what reaches the SDK is to be recorded.
    sampler: new sdkTrace.AlwaysOnSampler(),
  });
  sdk.start();
  setSampling(ratio);
  log.info({ endpoint, ratio }, "traces are exported");
  const running: TraceExport = {
    forward: (span, from) => batches.onEnd(toReadableSpan(span, from)),
    async [Symbol.asyncDispose]() {
      setSampling(0);
      if (current === running) current = undefined;
      const late = new Promise((resolve) => setTimeout(resolve, flushWithinMs).unref());
      await Promise.race([sdk.shutdown().catch((err: unknown) => log.warn({ err }, "spans were lost")), late]);
    },
  };
  current = running;
  return running;
}
