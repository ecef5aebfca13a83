/** A recorded span of another service, in the form in which the SDK's processors take it. */
import { type HrTime, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { SpanRecord } from "./span-record.ts";

const resources = new Map<string, Resource>();

/** `service`: one of ours, so that there are few. */
export function toReadableSpan(span: SpanRecord, service: string): ReadableSpan {
  const { traceId, spanId, parentSpanId, name, kind, startMs, durationMs, attributes, failed } = span;
  const traceFlags = TraceFlags.SAMPLED;
  return {
    ...{ name, kind, links: [], events: [], ended: true },
    spanContext: () => ({ traceId, spanId, traceFlags }),
    parentSpanContext: parentSpanId ? { traceId, spanId: parentSpanId, traceFlags, isRemote: true } : undefined,
    startTime: hrTime(startMs),
    endTime: hrTime(startMs + durationMs),
    duration: hrTime(durationMs),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes: attributes as ReadableSpan["attributes"],
    resource: resourceOf(service),
    instrumentationScope: { name: "sallyport" },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function resourceOf(service: string): Resource {
  const known = resources.get(service);
  if (known) return known;
  const made = resourceFromAttributes({ "service.name": service, "service.namespace": "sallyport" });
  resources.set(service, made);
  return made;
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)];
}
