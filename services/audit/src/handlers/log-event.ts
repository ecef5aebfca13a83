import type { AuditEvent } from "@sallyport/proto/sallyport/audit/v1/audit";
import { AppError, asAppError, backoff, type Confirmer, delay, describeSpan, withSpan } from "@sallyport/runtime";
import type { Item, Outcome } from "../core/append-batch.ts";
import type { Appender } from "../core/appender.ts";
import type { Vault } from "../core/vault.ts";
import { type LogEvent, messageIdOf, readEvent } from "../domain/event.ts";
import { countRecord } from "../metrics.ts";

export interface LogEventContext {
  readonly appender: Appender;
  readonly confirmer: Confirmer;
  readonly vault: Vault;
  /** Aborts when the service stops: what waits for the database then goes back to the bus. */
  readonly stopping: AbortSignal;
}

const retryBaseMs = 100;
const retryMaxMs = 2_000;

/**
 * AUDIT: returns (and the message is acknowledged) only once a signed head covers the event. What can never become a
 * record throws INVALID_ARGUMENT, which ends it in DEAD with the reason; where its place is known, the log accounts for
 * it and the producer need not send it again.
 */
export async function logEvent(context: LogEventContext, message: AuditEvent, subject: string): Promise<void> {
  const reading = readEvent(message, subject);
  const place = reading.ok ? reading.event.place : reading.place;
  if (place === undefined) throw poison(reading.ok ? "" : reading.reason);
  const item = reading.ok
    ? eventItem(context.vault, reading.event)
    : { kind: "poison" as const, place, reason: reading.reason, bytes: message.record };
  const outcome = await withSpan("append", {}, async () => {
    const done = await append(context, item);
    describeSpan({ "sallyport.log.index": done.index });
    return done;
  });
  countRecord(outcome.status);
  context.confirmer.confirm(place.producer, messageIdOf(place));
  if (outcome.status === "rejected") throw poison(outcome.reason ?? "REJECTED");
}

/** A database that is away is waited for, under the message's lease: giving it back would only use up its deliveries. */
async function append({ appender, stopping }: LogEventContext, item: Item | Promise<Item>): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await appender.submit(item);
    } catch (error) {
      if (asAppError(error).code !== "UNAVAILABLE" || stopping.aborted) throw error;
      await delay(backoff(attempt, { baseMs: retryBaseMs, maxMs: retryMaxMs }), stopping).catch(() => undefined);
    }
  }
}

async function eventItem(vault: Vault, event: LogEvent): Promise<Item> {
  const { jwe, requestId } = event;
  const key = jwe === undefined || requestId === undefined ? undefined : await vault.rewrap(jwe, requestId);
  return { kind: "event", event, key };
}

function poison(reason: string): AppError {
  return new AppError("INVALID_ARGUMENT", "the event cannot become a record", { reason });
}
