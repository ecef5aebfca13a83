/** CloudEvents attributes as NATS headers (CloudEvents NATS binding, binary mode), and W3C traceparent. */
import { headers as createHeaders, type MsgHdrs } from "@nats-io/transport-node";

export const contentType = "application/protobuf";

export interface EventHeaders {
  /** ce-id: stays the same when the message is sent again under another Nats-Msg-Id. */
  id: string;
  source: string;
  /** Protobuf type name. */
  type: string;
  time: Date;
  traceparent?: string;
  headers?: Readonly<Record<string, string>>;
}

export function encodeHeaders(event: EventHeaders): MsgHdrs {
  const result = createHeaders();
  for (const [name, value] of Object.entries(event.headers ?? {})) result.set(name, value);
  result.set("ce-specversion", "1.0");
  result.set("ce-id", event.id);
  result.set("ce-source", event.source);
  result.set("ce-type", event.type);
  result.set("ce-time", event.time.toISOString());
  result.set("content-type", contentType);
  if (event.traceparent) result.set("traceparent", event.traceparent);
  return result;
}

/** Lower-case names, last value of each. */
export function decodeHeaders(headers: MsgHdrs | undefined): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, values] of headers ?? []) result[name.toLowerCase()] = values.at(-1) ?? "";
  return result;
}
