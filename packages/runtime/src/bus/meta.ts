/** What is known about a delivered or replayed message besides its content. */
import type { Delivery } from "./delivery.ts";
import { decodeHeaders } from "./headers.ts";

export interface MessageMeta {
  subject: string;
  /** Sequence in the stream; starts again when the stream is made anew. */
  sequence: number;
  /** When the stream stored it, whole milliseconds; the same for a delivery, a redelivery and a replay. */
  timestampMs: number;
  /** 1 for the first delivery; 0 for a replayed message. */
  deliveryCount: number;
  /** The id its producer gave it: the same also when it was sent again under another Nats-Msg-Id. */
  msgId: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  traceparent: string | undefined;
  /** Aborted when the consumer must stop now. */
  signal: AbortSignal;
}

export function metaOf(message: Delivery, signal: AbortSignal): MessageMeta {
  const headers = decodeHeaders(message.headers);
  return {
    subject: message.subject,
    sequence: message.sequence,
    timestampMs: Number(message.timestampNanos / 1_000_000n),
    deliveryCount: message.deliveryCount,
    ...idsOf(headers),
    headers,
    signal,
  };
}

export function idsOf(headers: Readonly<Record<string, string>>): Pick<MessageMeta, "msgId" | "traceparent"> {
  return { msgId: headers["ce-id"] ?? headers["nats-msg-id"] ?? "", traceparent: headers.traceparent };
}
