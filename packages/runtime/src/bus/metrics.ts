/** Rate, errors and duration of every consumer and of publishing; how much waits, and how the connection is. */
import { asAppError } from "../errors.ts";
import { counter, gauge, histogram, observe, secondsSince } from "../telemetry/metrics.ts";
import type { Delivery } from "./delivery.ts";

const consumerLabels = ["stream", "consumer"] as const;
const ageBuckets = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 3_600];

const handled = counter("sallyport_bus_handled_total", "Messages settled, by what became of them and why.", [
  ...consumerLabels,
  "outcome",
  "reason",
]);
const handling = histogram(
  "sallyport_bus_handling_seconds",
  "Time from delivery to settling a message.",
  consumerLabels,
);
const age = histogram(
  "sallyport_bus_delivery_age_seconds",
  "Age of messages when they were first delivered.",
  consumerLabels,
  ageBuckets,
);
const inHand = gauge("sallyport_bus_in_hand", "Messages delivered and not yet settled.", consumerLabels);
const pending = gauge(
  "sallyport_bus_pending",
  "Messages that still waited for the consumer when it last took one.",
  consumerLabels,
);
const published = counter("sallyport_bus_published_total", "Messages published, by outcome.", ["stream", "reason"]);
const publishing = histogram("sallyport_bus_publish_seconds", "Time until the stream acknowledged.", ["stream"]);
const disconnections = counter("sallyport_bus_disconnections_total", "How often the connection to the bus broke.");

export type Outcome = "ack" | "nak" | "dead";

/** What one consumer tells about its messages. */
export class ConsumerMetrics {
  readonly #labels: { stream: string; consumer: string };

  constructor(stream: string, consumer: string) {
    this.#labels = { stream, consumer };
  }

  took({ deliveryCount, timestampNanos, pending: waiting }: Delivery, taken: number): void {
    inHand.set(this.#labels, taken);
    pending.set(this.#labels, waiting);
    if (deliveryCount > 1) return;
    age.observe(this.#labels, Math.max(0, Date.now() - Number(timestampNanos / 1_000_000n)) / 1_000);
  }

  settled(startedAt: number, taken: number): void {
    inHand.set(this.#labels, taken);
    handling.observe(this.#labels, secondsSince(startedAt));
  }

  /** `reason`: "OK", or the failure's. */
  count(outcome: Outcome, reason: string): void {
    handled.inc({ ...this.#labels, outcome, reason });
  }

  /** A consumer that is no more has nothing in hand. */
  stop(): void {
    inHand.remove(this.#labels);
    pending.remove(this.#labels);
  }
}

export async function countPublish<T>(stream: string, publish: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  let reason = "OK";
  try {
    return await publish();
  } catch (error) {
    reason = asAppError(error).reason;
    throw error;
  } finally {
    published.inc({ stream, reason });
    publishing.observe({ stream }, secondsSince(startedAt));
  }
}

export function countDisconnection(): void {
  disconnections.inc({});
}

export function observeConnection(isConnected: () => boolean): Disposable {
  return observe("sallyport_bus_connected", "1 while the bus can be reached.", [], () => [
    { labels: {}, value: isConnected() ? 1 : 0 },
  ]);
}
