/** Publishing to a stream: done when the stream has said so. Tried again with the same id until then or until too late. */
import { JetStreamApiError, type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { InvalidArgumentError, type MsgHdrs, PermissionViolationError } from "@nats-io/transport-node";
import { backoff, delay } from "../clock.ts";
import { AppError } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { countPublish } from "./metrics.ts";

export interface PublishReceipt {
  sequence: number;
  /** The stream had a message of this id already; this one was dropped. */
  duplicate: boolean;
}

interface SendOptions {
  msgId: string;
  headers: MsgHdrs;
  timeoutMs?: number;
  /** Only if the subject's newest message is still this one (0: there is none). */
  lastSequence?: number;
}

const publishTimeoutMs = 5_000;
const tryTimeoutMs = 2_000;
/** JetStream error codes: message too large for the stream; the subject belongs to another stream; somebody else wrote. */
const refusedForGood = new Set([10054, 10060, 10071]);

export class Publisher {
  readonly #connection: Pick<Connection, "nc" | "connected">;
  readonly #js: JetStreamClient;

  constructor(connection: Pick<Connection, "nc" | "connected">) {
    this.#connection = connection;
    this.#js = jetstream(connection.nc, { timeout: tryTimeoutMs });
  }

  /**
   * Throws UNAVAILABLE/BUS_UNAVAILABLE when no acknowledgement came within `timeoutMs`: the message may be stored all the
   * same, and sending it again with the same id does no harm. FAILED_PRECONDITION when the stream will never take it.
   */
  send(stream: string, subject: string, payload: Uint8Array, options: SendOptions): Promise<PublishReceipt> {
    return countPublish(stream, () => this.#send(stream, subject, payload, options));
  }

  async #send(stream: string, subject: string, payload: Uint8Array, options: SendOptions): Promise<PublishReceipt> {
    const endsAt = performance.now() + (options.timeoutMs ?? publishTimeoutMs);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const leftMs = Math.max(50, endsAt - performance.now());
        if (!this.#connection.connected) throw new Error("the bus is not connected");
        const ack = await this.#js.publish(subject, payload, {
          msgID: options.msgId,
          headers: options.headers,
          timeout: Math.min(tryTimeoutMs, leftMs),
          retries: 0,
          expect: { streamName: stream, lastSubjectSequence: options.lastSequence },
        });
        return { sequence: ack.seq, duplicate: ack.duplicate };
      } catch (error) {
        if (isFinal(error)) throw refused(stream, error);
        const waitMs = backoff(attempt, { baseMs: 50, maxMs: 500 });
        if (performance.now() + waitMs > endsAt) throw unavailable(stream, error);
        await delay(waitMs);
      }
    }
  }
}

function isFinal(error: unknown): boolean {
  if (error instanceof PermissionViolationError || error instanceof InvalidArgumentError) return true;
  return error instanceof JetStreamApiError && refusedForGood.has(error.code);
}

function refused(stream: string, cause: unknown): AppError {
  return new AppError("FAILED_PRECONDITION", `stream ${stream} does not take this message`, {
    reason: "BUS_REFUSED",
    cause,
  });
}

function unavailable(stream: string, cause: unknown): AppError {
  const reason = "BUS_UNAVAILABLE";
  return new AppError("UNAVAILABLE", `stream ${stream} did not acknowledge in time; try again`, { reason, cause });
}
