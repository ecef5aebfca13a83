/** A durable consumer at work: pull, decode, handle, acknowledge; through reconnects and streams that vanish and return. */
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { ConsumerSpec } from "@sallyport/proto/subjects";
import { backoff, delay } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Connection } from "./connection.ts";
import type { Delivery } from "./delivery.ts";
import type { MessageMeta } from "./meta.ts";
import { ConsumerMetrics } from "./metrics.ts";
import { PullSource } from "./pull.ts";
import { inPlaceTries, type Settling, settle } from "./settle.ts";
import { startProcessSpan } from "./spans.ts";
import { consumerConfig } from "./specs.ts";
import { WorkQueue } from "./work-queue.ts";

export interface ConsumeOptions {
  /** Handlers that run at a time. */
  concurrency: number;
  /** Make (and make again) the consumer: only where the service may. */
  create?: boolean;
  /** Messages of one key are handled in order; a failing one is tried again in place before the next. */
  orderedBy?: (subject: string) => string;
  /** Stops as disposal does. */
  signal?: AbortSignal;
}

export type MessageHandler<Desc extends DescMessage> = (
  message: MessageShape<Desc>,
  meta: MessageMeta,
) => Promise<void> | void;

/** Disposal stops pulling and waits for the handlers; those that take too long get their signal aborted. */
export interface Consumption extends AsyncDisposable {
  /** False until messages may arrive: not yet bound, or the consumer is missing now. */
  readonly bound: boolean;
}

export interface ConsumptionContext {
  connection: Connection;
  service: string;
  log: Logger;
  /** Resolves once the dead letter is stored. */
  bury(message: Delivery, stream: string, reason: string): Promise<void>;
}

const bindBaseMs = 250;
const bindMaxMs = 2_000;
const createTimeoutMs = 2_000;
const drainMs = 10_000;
const abortMs = 2_000;
const presumeMs = 500;

export function startConsumption<Desc extends DescMessage>(
  context: ConsumptionContext,
  stream: string,
  spec: ConsumerSpec,
  schema: Desc,
  handler: MessageHandler<Desc>,
  options: ConsumeOptions,
): Consumption {
  const decode = (bytes: Uint8Array) => fromBinary(schema, bytes);
  const run = (message: unknown, meta: MessageMeta) => handler(message as MessageShape<Desc>, meta);
  return new Runner(context, stream, spec, { type: schema.typeName, decode, run }, options);
}

type Handling = Pick<Settling, "type" | "decode" | "run">;

class Runner implements Consumption {
  readonly #context: ConsumptionContext;
  readonly #stream: string;
  readonly #spec: ConsumerSpec;
  readonly #settling: Settling;
  readonly #options: ConsumeOptions;
  readonly #log: Logger;
  readonly #metrics: ConsumerMetrics;
  readonly #queue: WorkQueue;
  readonly #source: PullSource;
  readonly #capacity: number;
  /** Delivered and not yet settled. */
  readonly #taken = new Set<Delivery>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #stopListening: () => void;
  readonly #abort = new AbortController();
  #binding: Promise<void> | undefined;
  #bound = false;
  #presence: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(
    context: ConsumptionContext,
    stream: string,
    spec: ConsumerSpec,
    handling: Handling,
    options: ConsumeOptions,
  ) {
    this.#context = context;
    this.#stream = stream;
    this.#spec = spec;
    this.#options = options;
    this.#log = context.log.child({ stream, consumer: spec.name });
    this.#metrics = new ConsumerMetrics(stream, spec.name);
    this.#settling = {
      ...handling,
      maxDeliver: spec.maxDeliver,
      tries: options.orderedBy ? inPlaceTries : 1,
      signal: this.#abort.signal,
      stopping: () => this.#stopping !== undefined,
      bury: (message, reason) => context.bury(message, stream, reason),
      span: (message, meta) => startProcessSpan(stream, spec.name, message, meta),
      count: (outcome, reason) => this.#metrics.count(outcome, reason),
      log: this.#log,
    };
    this.#queue = new WorkQueue(options.concurrency);
    // In order, messages of a busy key wait here; otherwise what is taken runs at once.
    this.#capacity = Math.min(spec.maxAckPending, options.concurrency * (options.orderedBy ? 4 : 1));
    this.#source = new PullSource(context.connection, context.service, stream, spec.name, {
      onMessage: (message) => void this.#take(message),
      onMissing: (why) => this.#rebind(why),
      onIdle: () => {
        this.#bound = true;
        this.#fill();
      },
    });
    this.#heartbeat = setInterval(() => this.#keepAlive(), Math.floor(spec.ackWaitMs / 3)).unref();
    this.#stopListening = context.connection.onReconnect(() => this.#rebind());
    options.signal?.addEventListener("abort", () => void this[Symbol.asyncDispose](), { once: true });
    this.#rebind();
  }

  get bound(): boolean {
    return this.#bound && this.#context.connection.connected;
  }

  async #take(message: Delivery): Promise<void> {
    this.#bound = true;
    this.#taken.add(message);
    this.#metrics.took(message, this.#taken.size);
    const startedAt = performance.now();
    await this.#queue.run(this.#options.orderedBy?.(message.subject), async () => {
      try {
        if (this.#stopping) message.nak();
        else await settle(message, this.#settling);
      } catch (err) {
        // Acknowledging on a closed connection: it comes again.
        this.#log.warn({ err }, "could not settle a message");
      }
      this.#taken.delete(message);
      this.#metrics.settled(startedAt, this.#taken.size);
    });
    this.#fill();
  }

  #keepAlive(): void {
    if (!this.#context.connection.connected) return;
    for (const message of this.#taken) message.working();
  }

  #fill(): void {
    if (this.#stopping || this.#binding) return;
    const free = this.#capacity - this.#taken.size - this.#source.outstanding;
    if (free < Math.max(1, Math.floor(this.#capacity / 2))) return;
    this.#source.request(free);
    // A missing consumer is answered at once; silence means that the request waits for messages.
    if (!this.#bound) this.#presence ??= setTimeout(() => this.#presume(), presumeMs).unref();
  }

  #presume(): void {
    this.#presence = undefined;
    if (this.#source.outstanding > 0) this.#bound = true;
  }

  #rebind(missing?: string): void {
    if (this.#stopping) return;
    if (missing !== undefined && this.#bound) this.#log.warn({ missing }, "the consumer is missing; binding again");
    if (missing !== undefined) {
      this.#bound = false;
      clearTimeout(this.#presence);
      this.#presence = undefined;
    }
    this.#binding ??= this.#bind(missing !== undefined).finally(() => {
      this.#binding = undefined;
      this.#fill();
    });
  }

  /** With `create`: until the consumer is there. Without: a pause, so that a missing consumer is asked for gently. */
  async #bind(missing: boolean): Promise<void> {
    for (let attempt = 1; !this.#stopping; attempt += 1) {
      const waitMs = backoff(attempt, { baseMs: bindBaseMs, maxMs: bindMaxMs });
      if (missing || attempt > 1) await delay(waitMs, this.#abort.signal).catch(() => undefined);
      if (!this.#options.create || (await this.#create())) break;
    }
    if (this.#options.create) this.#bound = true;
  }

  async #create(): Promise<boolean> {
    const { name, filter } = this.#spec;
    const body = JSON.stringify({ stream_name: this.#stream, config: consumerConfig(this.#spec), action: "" });
    try {
      const subject = `$JS.API.CONSUMER.CREATE.${this.#stream}.${name}.${filter}`;
      const reply = await this.#context.connection.nc.request(subject, body, { timeout: createTimeoutMs });
      const { error } = reply.json<{ error?: { description?: string } }>();
      if (error) this.#log.warn({ why: error.description }, "could not make the consumer; trying again");
      return error === undefined;
    } catch (err) {
      this.#log.debug({ err }, "could not make the consumer; trying again");
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopListening();
    this.#source.stop();
    await this.#settled(drainMs);
    this.#abort.abort();
    await this.#settled(abortMs);
    clearInterval(this.#heartbeat);
    this.#metrics.stop();
  }

  async #settled(withinMs: number): Promise<void> {
    const endsAt = performance.now() + withinMs;
    while (this.#taken.size > 0 && performance.now() < endsAt) await delay(10);
  }
}
