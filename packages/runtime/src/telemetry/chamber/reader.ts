/** Reads what the chamber tells about itself, and believes none of it: what the tables do not allow is dropped and counted. */
import type { FinishedSpan, MetricSample, TelemetryMessage } from "@sallyport/proto/sallyport/bus/v1/telemetry";
import { counter } from "../metrics.ts";
import type { SpanRecord } from "../span-record.ts";
import type { SpanValue } from "../vocabulary.ts";
import type { ChamberMetrics } from "./metrics.ts";
import { type Approved, attributeAllowed, familyOf, limits, spanNameAllowed } from "./tables.ts";
import { TokenBucket } from "./token-bucket.ts";

const taken = counter(
  "sallyport_chamber_telemetry_total",
  "Spans and samples of the chamber, taken or dropped and why.",
  ["what", "outcome"],
);

export interface ChamberReaderOptions {
  readonly approved: Approved;
  /** What is done with a span that was taken. */
  readonly onSpan: (span: SpanRecord, service: string) => void;
  readonly metrics: ChamberMetrics;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** One sender's allowance: the bus says which service it is, so that none can use up another's. */
export class ChamberReader {
  readonly #service: string;
  readonly #messages = new TokenBucket(limits.messages);
  readonly #spans = new TokenBucket(limits.spans);

  constructor(service: string) {
    this.#service = service;
  }

  take(message: TelemetryMessage, options: ChamberReaderOptions): void {
    const { instance, spans, samples } = message;
    const now = options.now();
    const fault = this.#faultOf(message, now);
    if (fault !== undefined) {
      taken.inc({ what: "message", outcome: fault });
      return;
    }
    for (const span of spans) {
      const record = readSpan(span, options.approved, now);
      const outcome = record === undefined ? "not allowed" : this.#spans.take(now) ? "taken" : "too many";
      taken.inc({ what: "span", outcome: outcome.replace(" ", "_") });
      if (outcome === "taken") options.onSpan(record!, this.#service);
    }
    const allowed = samples.flatMap((sample) => readSample(sample, options.approved));
    taken.inc({ what: "sample", outcome: "taken" }, allowed.length);
    taken.inc({ what: "sample", outcome: "not_allowed" }, samples.length - allowed.length);
    if (samples.length > 0 && !options.metrics.update(this.#service, instance, allowed, now))
      taken.inc({ what: "message", outcome: "too_many_instances" });
  }

  #faultOf({ instance, spans, samples, $unknown }: TelemetryMessage, now: number): string | undefined {
    if (!this.#messages.take(now)) return "too_many";
    if ($unknown?.length || !/^[0-9a-f]{16}$/.test(instance)) return "not_allowed";
    if (spans.length > limits.spansPerMessage || samples.length > limits.samplesPerMessage) return "too_large";
    return undefined;
  }
}

/** Undefined unless every part of it is allowed: a span that is wrong in one place is not to be believed in another. */
export function readSpan(span: FinishedSpan, approved: Approved, now: number): SpanRecord | undefined {
  const { name, kind, startUnixMs: startMs, durationMs, failed } = span;
  const [traceId, spanId, parentSpanId] = [span.traceId, span.spanId, span.parentSpanId].map((bytes) =>
    Buffer.from(bytes).toString("hex"),
  ) as [string, string, string];
  // Every span of the chamber continues a trace that came in with a job.
  const idsFit = [traceId.length, spanId.length, parentSpanId.length].join() === "32,16,16";
  const timesFit =
    Math.abs(now - startMs) <= limits.clockSkewMs + limits.longestSpanMs &&
    durationMs >= 0 &&
    durationMs <= limits.longestSpanMs;
  if (!idsFit || !timesFit || kind > 4 || !spanNameAllowed(name, approved)) return undefined;
  if (span.$unknown?.length || span.attributes.length > limits.attributesPerSpan) return undefined;
  const attributes: Record<string, SpanValue> = {};
  for (const { key, value, $unknown } of span.attributes) {
    const found = value.case === "texts" ? value.value.texts : value.value;
    if ($unknown?.length || Object.hasOwn(attributes, key) || !attributeAllowed(key, found, approved)) return undefined;
    attributes[key] = found as SpanValue;
  }
  return { ...{ traceId, spanId, parentSpanId, name, kind, startMs, durationMs, attributes, failed } };
}

export interface AllowedSample {
  readonly name: string;
  readonly family: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Counts up from the start of the process. */
  readonly cumulative: boolean;
}

function readSample({ name, labels: pairs, value, $unknown }: MetricSample, approved: Approved): AllowedSample[] {
  if ($unknown?.length || pairs.length > limits.labelsPerSample || !Number.isFinite(value) || value < 0) return [];
  const labels = Object.fromEntries(pairs.map((pair) => [pair.name, pair.value]));
  const found = Object.keys(labels).length === pairs.length ? familyOf(name, labels, approved) : undefined;
  return found ? [{ name, labels, value, ...found }] : [];
}
