/** Sends what this process records to a reader outside, as bus messages: a few a second, bounded, and nobody waits for it. */
import { randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type SpanAttributeSchema, TelemetryMessageSchema } from "@sallyport/proto/sallyport/bus/v1/telemetry";
import { subjects } from "@sallyport/proto/subjects";
import type { Bus } from "../../bus/index.ts";
import { counter, metricsRegistry } from "../metrics.ts";
import { recordSpans } from "../recorder.ts";
import type { SpanRecord } from "../span-record.ts";
import type { SpanValue } from "../vocabulary.ts";
import { chamberKeys, chamberMetrics, limits } from "./tables.ts";

const spansEveryMs = 1_000;
const metricsEveryMs = 5_000;
const maxWaiting = 1_000;
const dropped = counter("sallyport_worker_telemetry_dropped_total", "Spans that were not sent: too many at once.");

/** Records the spans of this process; disposal sends what waits. */
export function sendTelemetry(bus: Pick<Bus, "service" | "signal">): AsyncDisposable {
  const instance = randomBytes(8).toString("hex");
  const waiting: SpanRecord[] = [];
  const send = (body: Omit<MessageInitShape<typeof TelemetryMessageSchema>, "$typeName">) =>
    bus.signal(subjects.telemetry(bus.service), TelemetryMessageSchema, { instance, ...body });
  const sendSpans = () => {
    if (waiting.length > 0) send({ spans: waiting.splice(0, limits.spansPerMessage).map(toWire) });
  };
  const sendMetrics = async () => send({ samples: await samples() });
  const stopRecording = recordSpans((span) => {
    if (waiting.length < maxWaiting) waiting.push(span);
    else dropped.inc({});
    if (waiting.length === limits.spansPerMessage) sendSpans();
  });
  const timers = [setInterval(sendSpans, spansEveryMs), setInterval(() => void sendMetrics(), metricsEveryMs)];
  return {
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearInterval(timer);
      stopRecording();
      while (waiting.length > 0) sendSpans();
      await sendMetrics();
    },
  };
}

function toWire({ traceId, spanId, parentSpanId, name, kind, startMs, durationMs, attributes, failed }: SpanRecord) {
  return {
    ...{ name, kind, failed, durationMs, startUnixMs: startMs },
    traceId: Buffer.from(traceId, "hex"),
    spanId: Buffer.from(spanId, "hex"),
    parentSpanId: Buffer.from(parentSpanId ?? "", "hex"),
    attributes: Object.entries(attributes)
      .filter(([key]) => chamberKeys.has(key))
      .map(([key, value]) => ({ key, value: toValue(value) })),
  };
}

function toValue(value: SpanValue): MessageInitShape<typeof SpanAttributeSchema>["value"] {
  if (typeof value === "number") return { case: "number", value };
  if (typeof value === "string") return { case: "text", value };
  return { case: "texts", value: { texts: [...value] } };
}

async function samples() {
  const found = [];
  for (const name of Object.keys(chamberMetrics)) {
    const metric = await metricsRegistry.getSingleMetric(name)?.get();
    for (const { metricName = name, labels, value } of (metric?.values ?? []) as Sample[]) {
      const pairs = Object.entries(labels).map(([label, text]) => ({ name: label, value: String(text) }));
      found.push({ name: metricName, labels: pairs, value });
    }
  }
  return found.slice(0, limits.samplesPerMessage);
}

interface Sample {
  metricName?: string;
  labels: Record<string, string | number>;
  value: number;
}
