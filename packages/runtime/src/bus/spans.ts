/** Spans of the bus: one for publishing a message, whose context travels with it, and one for handling it. */
import { requestIdOf } from "../telemetry/scope.ts";
import { currentTrace, type OpenSpan, startSpan, withSpan } from "../telemetry/spans.ts";
import type { MessageMeta } from "./meta.ts";

/** `publish` gets the traceparent for the message's headers; undefined where it belongs to nothing. */
export async function inPublishSpan<T>(
  stream: string,
  traceparent: string | undefined,
  publish: (traceparent: string | undefined) => Promise<T>,
): Promise<T> {
  if (!traceparent && !currentTrace()) return await publish(undefined);
  const attributes = {
    "messaging.system": "nats",
    "messaging.destination.name": stream,
    "messaging.operation.type": "send",
    "messaging.operation.name": "publish",
  };
  const options = { kind: "producer" as const, parent: traceparent, attributes };
  return await withSpan(`publish ${stream}`, options, (span) => publish(span.traceparent));
}

export function startProcessSpan(stream: string, consumer: string, message: unknown, meta: MessageMeta): OpenSpan {
  const requestId = requestIdOf(message);
  const attributes = {
    "messaging.system": "nats",
    "messaging.destination.name": stream,
    "messaging.operation.type": "process",
    "messaging.operation.name": "process",
    "messaging.consumer.group.name": consumer,
    "sallyport.delivery": meta.deliveryCount,
    "sallyport.request.id": requestId,
  };
  return startSpan(`process ${stream}`, { kind: "consumer", parent: meta.traceparent, requestId, attributes });
}
