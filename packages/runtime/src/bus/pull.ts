/**
 * Pull requests to one durable consumer (NATS ADR-37 in spirit), with exactly as much on the way as the caller has room
 * for. The library's own loop was not taken: it fills a buffer whose messages nobody keeps alive, and it asks for consumer
 * info, a permission that a service does not need.
 */
import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";
import { inboxPrefix } from "./connection.ts";
import { Delivery } from "./delivery.ts";

export interface PullHandlers {
  onMessage(message: Delivery): void;
  /** The consumer or its stream is not there (any more). */
  onMissing(why: string): void;
  /** A request ended or was lost; there may be room for another. */
  onIdle(): void;
}

const expiresMs = 20_000;
const graceMs = 2_000;

interface Outstanding {
  remaining: number;
  timer: NodeJS.Timeout;
}

export class PullSource {
  readonly #connection: Connection;
  readonly #subject: string;
  readonly #inbox: string;
  readonly #handlers: PullHandlers;
  readonly #subscription: Subscription;
  readonly #stopListening: () => void;
  /** In the order in which the server serves them. */
  readonly #requests = new Map<string, Outstanding>();
  #count = 0;

  constructor(connection: Connection, service: string, stream: string, consumer: string, handlers: PullHandlers) {
    this.#connection = connection;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
    this.#inbox = createInbox(inboxPrefix(service));
    this.#handlers = handlers;
    this.#subscription = connection.nc.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => (error ? this.#handlers.onMissing(error.message) : this.#receive(message)),
    });
    this.#stopListening = connection.onDisconnect(() => this.#forgetAll());
  }

  /** Messages asked for and not yet here. */
  get outstanding(): number {
    let sum = 0;
    for (const { remaining } of this.#requests.values()) sum += remaining;
    return sum;
  }

  request(batch: number): void {
    if (!this.#connection.connected) return;
    this.#count += 1;
    const id = String(this.#count);
    const timer = setTimeout(() => this.#end(id), expiresMs + graceMs).unref();
    this.#requests.set(id, { remaining: batch, timer });
    const body = JSON.stringify({ batch, expires: nanos(expiresMs) });
    this.#connection.nc.publish(this.#subject, body, { reply: `${this.#inbox}.${id}` });
  }

  stop(): void {
    this.#stopListening();
    this.#forgetAll();
    if (!this.#subscription.isClosed()) this.#subscription.unsubscribe();
  }

  #receive(message: Msg): void {
    const code = message.headers?.code ?? 0;
    // A message keeps its own subject; only the server's word about a request comes on the inbox.
    if (code === 0 || !message.subject.startsWith(this.#inbox)) this.#deliver(message);
    else if (code !== 100) this.#ended(message.subject, code, message.headers?.description ?? "");
  }

  #ended(subject: string, code: number, description: string): void {
    this.#end(subject.slice(this.#inbox.length + 1), false);
    const missing = code === 503 || (code === 409 && /deleted/i.test(description));
    if (missing) this.#handlers.onMissing(`${code} ${description}`.trim());
    else this.#handlers.onIdle();
  }

  #deliver(message: Msg): void {
    const oldest = this.#requests.entries().next().value;
    if (oldest) {
      oldest[1].remaining -= 1;
      if (oldest[1].remaining <= 0) this.#end(oldest[0], false);
    }
    try {
      this.#handlers.onMessage(new Delivery(message));
    } catch {
      // Not from a consumer: whoever wrote it to this inbox gets no answer.
    }
  }

  #end(id: string, notify = true): void {
    const request = this.#requests.get(id);
    clearTimeout(request?.timer);
    this.#requests.delete(id);
    if (request && notify) this.#handlers.onIdle();
  }

  #forgetAll(): void {
    for (const id of [...this.#requests.keys()]) this.#end(id, false);
  }
}
