/** One delivered message and its acknowledgements (NATS ADR-15: the reply subject tells where it stands). */
import { type Msg, type MsgHdrs, nanos } from "@nats-io/transport-node";

export class Delivery {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
  /** Sequence in the stream. */
  readonly sequence: number;
  readonly timestampNanos: bigint;
  /** 1 for the first delivery. */
  readonly deliveryCount: number;
  /** What waited for the consumer behind this message. */
  readonly pending: number;
  readonly #message: Msg;
  #settled = false;

  /** Throws RangeError when the message was not delivered by a consumer. */
  constructor(message: Msg) {
    const place = ackPlace(message.reply ?? "");
    this.subject = message.subject;
    this.data = message.data;
    this.headers = message.headers;
    this.sequence = Number(place.sequence);
    this.deliveryCount = Number(place.delivered);
    this.timestampNanos = BigInt(place.timestamp);
    this.pending = Number(place.pending);
    this.#message = message;
  }

  ack(): void {
    this.#settle("+ACK");
  }

  /** Comes again after `delayMs`. */
  nak(delayMs = 0): void {
    this.#settle(delayMs > 0 ? `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}` : "-NAK");
  }

  /** Never comes again. */
  term(reason: string): void {
    this.#settle(`+TERM ${reason}`);
  }

  /** Starts ackWait anew. */
  working(): void {
    if (!this.#settled) this.#message.respond("+WPI");
  }

  #settle(answer: string): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#message.respond(answer);
  }
}

/**
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<timestamp>.<pending>`, or since 2.14 optionally
 * with `<domain>.<account hash>` after ACK and a random token at the end.
 */
function ackPlace(reply: string): { delivered: string; sequence: string; timestamp: string; pending: string } {
  const tokens = reply.split(".");
  const from = tokens.length >= 11 ? 6 : 4;
  const [delivered, sequence, , timestamp, pending = "0"] = tokens.slice(from);
  const numbers = /^\d+$/;
  if (
    !reply.startsWith("$JS.ACK.") ||
    !delivered ||
    !sequence ||
    !timestamp ||
    ![delivered, sequence, timestamp, pending].every((token) => numbers.test(token))
  ) {
    throw new RangeError("this message was not delivered by a consumer");
  }
  return { delivered, sequence, timestamp, pending };
}
