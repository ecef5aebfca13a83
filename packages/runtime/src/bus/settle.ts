/** One delivered message: decode, handle, and tell the server what became of it. */
import { backoff, delay } from "../clock.ts";
import { asAppError, toAckAction } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { runInScope } from "../telemetry/scope.ts";
import type { OpenSpan } from "../telemetry/spans.ts";
import type { Delivery } from "./delivery.ts";
import { type MessageMeta, metaOf } from "./meta.ts";
import type { Outcome } from "./metrics.ts";

export interface Settling {
  /** Protobuf type name: a message that says it is another does not decode. */
  readonly type: string;
  decode(bytes: Uint8Array): unknown;
  run(message: unknown, meta: MessageMeta): Promise<void> | void;
  readonly maxDeliver: number;
  /** Tries here, before the message is handed back: more than one where the next of its key must wait. */
  readonly tries: number;
  readonly signal: AbortSignal;
  stopping(): boolean;
  /** Resolves once the dead letter is stored. */
  bury(message: Delivery, reason: string): Promise<void>;
  /** Of handling one message. */
  span(message: unknown, meta: MessageMeta): OpenSpan;
  /** Told what became of each message, and why: "OK" or the failure's reason. */
  count(outcome: Outcome, reason: string): void;
  readonly log: Logger;
}

export const inPlaceTries = 4;
const nakBaseMs = 500;
const nakMaxMs = 30_000;
const buryAgainMs = 30_000;

/** Rejects only when the answer could not be sent. */
export async function settle(message: Delivery, settling: Settling): Promise<void> {
  const meta = metaOf(message, settling.signal);
  if (meta.deliveryCount > settling.maxDeliver) return await bury(message, "DELIVERIES_EXHAUSTED", settling);
  const decoded = decode(message, meta, settling);
  if (decoded === undefined) return await bury(message, "UNDECODABLE", settling);
  const span = settling.span(decoded.value, meta);
  const failure = await runInScope(span.scope, () => handle(message, decoded.value, meta, settling));
  span.end(failure);
}

/** Undefined when it went well, else the last failure. */
async function handle(message: Delivery, value: unknown, meta: MessageMeta, settling: Settling): Promise<unknown> {
  const { maxDeliver, log, count } = settling;
  const { msgId, deliveryCount } = meta;
  const failure = await attempt(value, meta, settling);
  const action = failure === undefined ? "ack" : toAckAction(failure);
  const reason = failure === undefined ? "OK" : asAppError(failure).reason;
  if (failure !== undefined) log.warn({ err: failure, msgId, deliveryCount, action }, "a message failed");
  const last = deliveryCount >= maxDeliver && !settling.stopping();
  if (action === "ack") {
    count("ack", reason);
    message.ack();
  } else if (action === "term" || last) {
    await bury(message, reason, settling);
  } else {
    count("nak", reason);
    message.nak(backoff(deliveryCount, { baseMs: nakBaseMs, maxMs: nakMaxMs }));
  }
  return failure;
}

function decode(message: Delivery, { headers }: MessageMeta, settling: Settling): { value: unknown } | undefined {
  const type = headers["ce-type"];
  if (type !== undefined && type !== settling.type) return undefined;
  try {
    return { value: settling.decode(message.data) };
  } catch {
    return undefined;
  }
}

/** Undefined when handled, else the last failure. */
async function attempt(value: unknown, meta: MessageMeta, { run, tries, stopping }: Settling): Promise<unknown> {
  for (let count = 1; ; count += 1) {
    try {
      await run(value, meta);
      return undefined;
    } catch (error) {
      if (count >= tries || toAckAction(error) !== "nak" || stopping()) return error ?? new Error("failed");
      await delay(backoff(count, { baseMs: 100, maxMs: 2_000 }));
    }
  }
}

async function bury(message: Delivery, reason: string, settling: Settling): Promise<void> {
  try {
    await settling.bury(message, reason);
    settling.count("dead", reason);
    message.term(reason);
  } catch (err) {
    settling.log.error({ err, reason }, "could not store a dead letter; trying again later");
    message.nak(buryAgainMs);
  }
}
