/** The bus: streams (JetStream), signals (core NATS) and signed-state buckets, behind one object. */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { DeadLetterSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ConsumerSpec, type ServiceName, subjects } from "@sallyport/proto/subjects";
import { type Clock, systemClock } from "../clock.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { currentTraceparent } from "../telemetry/spans.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { type ConsumeOptions, type Consumption, type MessageHandler, startConsumption } from "./consumption.ts";
import type { Delivery } from "./delivery.ts";
import { readLast, readSubject } from "./direct.ts";
import { decodeHeaders, encodeHeaders } from "./headers.ts";
import { idsOf, type MessageMeta } from "./meta.ts";
import { Publisher, type PublishReceipt } from "./publisher.ts";
import { inPublishSpan } from "./spans.ts";
import { bucketSubject } from "./specs.ts";
import { putValue, readEntry, type StoredValue } from "./values.ts";

export { type Confirmer, createConfirmer } from "./confirmer.ts";
export type { ConsumeOptions, Consumption, MessageHandler } from "./consumption.ts";
export type { MessageMeta } from "./meta.ts";
export { jsApiPermissions, type SubjectPermissions } from "./permissions.ts";
export type { PublishReceipt } from "./publisher.ts";
export { bucketConfig, bucketStream, bucketSubject, consumerConfig, streamConfig } from "./specs.ts";
export type { StoredValue } from "./values.ts";

export interface BusOptions extends Omit<ConnectionOptions, "service"> {
  service: ServiceName;
  clock?: Clock;
}

export interface PublishOptions {
  /** Nats-Msg-Id: within its duplicate window the stream stores it once. */
  msgId: string;
  headers?: Readonly<Record<string, string>>;
  /** What it belongs to, where that is not what the code that publishes belongs to. */
  traceparent?: string;
  /** For the acknowledgement, tries included (5 s). */
  timeoutMs?: number;
}

export type SignalMeta = Pick<MessageMeta, "subject" | "headers" | "traceparent">;

export interface Bus extends AsyncDisposable {
  readonly service: ServiceName;
  readonly connected: boolean;
  /** Milliseconds. Rejects while disconnected. */
  rtt(): Promise<number>;
  /** Resolves on the stream's acknowledgement; UNAVAILABLE without one in time, FAILED_PRECONDITION when it never takes it. */
  publish<Desc extends DescMessage>(
    stream: string,
    subject: string,
    schema: Desc,
    message: MessageInitShape<Desc>,
    options: PublishOptions,
  ): Promise<PublishReceipt>;
  /** `publish` of bytes made before; `id` is the ce-id where it differs from the Nats-Msg-Id. */
  publishBytes(
    stream: string,
    subject: string,
    type: string,
    payload: Uint8Array,
    options: PublishOptions & { id?: string },
  ): Promise<PublishReceipt>;
  /** Starts at once and lasts until disposed, whatever the server goes through. */
  consume<Desc extends DescMessage>(
    stream: string,
    consumer: ConsumerSpec,
    schema: Desc,
    handler: MessageHandler<Desc>,
    options: ConsumeOptions,
  ): Consumption;
  /** What the stream holds of one subject now, in order; passes over what does not decode, which its consumer buries. Throws UNAVAILABLE. */
  replay<Desc extends DescMessage>(
    stream: string,
    subject: string,
    schema: Desc,
  ): AsyncGenerator<{ message: MessageShape<Desc>; meta: MessageMeta }>;
  /** Core NATS: may get lost, and is dropped while the bus is away. */
  signal<Desc extends DescMessage>(subject: string, schema: Desc, message: MessageInitShape<Desc>): void;
  /** Returns the unsubscribe function. What does not decode, and what the handler throws, is logged and dropped. */
  onSignal<Desc extends DescMessage>(
    pattern: string,
    schema: Desc,
    handler: (message: MessageShape<Desc>, meta: SignalMeta) => Promise<void> | void,
  ): () => void;
  /** After every reconnection, not the first connection. Returns the function that ends it. */
  onReconnect(listener: () => void): () => void;
  /** The newest stored value of a key; undefined when there is none. Throws UNAVAILABLE. */
  readValue(bucket: string, key: string): Promise<Uint8Array | undefined>;
  /** As readValue, with what putValue needs to replace just this value. */
  readEntry(bucket: string, key: string): Promise<StoredValue | undefined>;
  /**
   * Resolves on acknowledgement, as publish does. With `lastSequence` only while the key's value is that one (0: none);
   * otherwise FAILED_PRECONDITION.
   */
  putValue(bucket: string, key: string, value: Uint8Array, lastSequence?: number): Promise<void>;
  /** A put to the key passed by: a hint to read, no more. Returns the function that ends it. */
  onPut(bucket: string, key: string, listener: () => void): () => void;
}

/** Resolves once connected. */
export async function connectBus(options: BusOptions): Promise<Bus> {
  return new NatsBus(options, await Connection.open(options));
}

class NatsBus implements Bus {
  readonly service: ServiceName;
  readonly #connection: Connection;
  readonly #publisher: Publisher;
  readonly #log: Logger;
  readonly #clock: Clock;

  constructor({ service, log, clock }: BusOptions, connection: Connection) {
    this.service = service;
    this.#connection = connection;
    this.#publisher = new Publisher(connection);
    this.#log = log;
    this.#clock = clock ?? systemClock;
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  async rtt(): Promise<number> {
    if (!this.connected) throw new AppError("UNAVAILABLE", "the bus is away", { reason: "BUS_UNAVAILABLE" });
    return await this.#connection.nc.rtt();
  }

  publish: Bus["publish"] = async (stream, subject, schema, message, options) => {
    const payload = toBinary(schema, create(schema, message));
    return await this.publishBytes(stream, subject, schema.typeName, payload, options);
  };

  publishBytes: Bus["publishBytes"] = async (stream, subject, type, payload, options) => {
    const { msgId, id = msgId, timeoutMs } = options;
    return await inPublishSpan(stream, options.traceparent, async (traceparent) => {
      const event = { ...options, traceparent, id, type, source: this.service, time: this.#clock.now() };
      return await this.#publisher.send(stream, subject, payload, { msgId, headers: encodeHeaders(event), timeoutMs });
    });
  };

  consume: Bus["consume"] = (stream, consumer, schema, handler, options) => {
    const bury = (message: Delivery, from: string, reason: string) => this.#bury(message, from, reason);
    const context = { connection: this.#connection, service: this.service, log: this.#log, bury };
    return startConsumption(context, stream, consumer, schema, handler, options);
  };

  async #bury(message: Delivery, stream: string, reason: string): Promise<void> {
    this.#log.error({ stream, subject: message.subject, reason }, "a message failed for good");
    // What fails to be read from DEAD stays in DEAD.
    if (stream === "DEAD") return;
    const requestId = message.subject.split(".").at(-1) ?? "";
    const { subject, data: payload } = message;
    const letter = { stream, subject, requestId, reason, payload, deliveries: message.deliveryCount };
    const msgId = `dead.${stream}.${message.sequence}.${message.timestampNanos}`;
    await this.publish("DEAD", subjects.dead(stream, requestId), DeadLetterSchema, letter, { msgId });
  }

  replay: Bus["replay"] = (stream, subject, schema) =>
    decodeAll(readSubject(this.#connection, this.service, stream, subject), schema);

  signal: Bus["signal"] = (subject, schema, message) => {
    if (!this.connected) return;
    const time = this.#clock.now();
    const traceparent = currentTraceparent();
    const event = { id: crypto.randomUUID(), source: this.service, type: schema.typeName, time, traceparent };
    const headers = encodeHeaders(event);
    this.#connection.nc.publish(subject, toBinary(schema, create(schema, message)), { headers });
  };

  onSignal: Bus["onSignal"] = (pattern, schema, handler) => {
    const handle = async (subject: string, data: Uint8Array, headers: Record<string, string>) => {
      const { traceparent } = idsOf(headers);
      try {
        await handler(fromBinary(schema, data), { subject, headers, traceparent });
      } catch (err) {
        this.#log.warn({ err, subject }, "a signal was dropped");
      }
    };
    const subscription = this.#connection.nc.subscribe(pattern, {
      callback: (err, message) => {
        if (err) this.#log.error({ err, pattern }, "cannot listen");
        else void handle(message.subject, message.data, decodeHeaders(message.headers));
      },
    });
    return () => subscription.unsubscribe();
  };

  onReconnect(listener: () => void): () => void {
    return this.#connection.onReconnect(listener);
  }

  async readValue(bucket: string, key: string): Promise<Uint8Array | undefined> {
    return (await readLast(this.#connection, bucket, key))?.data;
  }

  async readEntry(bucket: string, key: string): Promise<StoredValue | undefined> {
    return await readEntry(this.#connection, bucket, key);
  }

  async putValue(bucket: string, key: string, value: Uint8Array, lastSequence?: number): Promise<void> {
    const put = { source: this.service, time: this.#clock.now(), lastSequence };
    await putValue(this.#publisher, bucket, key, value, put);
  }

  onPut(bucket: string, key: string, listener: () => void): () => void {
    const subscription = this.#connection.nc.subscribe(bucketSubject(bucket, key), {
      callback: (err) => (err ? this.#log.error({ err, bucket }, "cannot watch") : listener()),
    });
    return () => subscription.unsubscribe();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }
}

async function* decodeAll<Desc extends DescMessage>(
  stored: AsyncGenerator<{ data: Uint8Array; meta: MessageMeta }>,
  schema: Desc,
) {
  for await (const { data, meta } of stored) {
    let message: MessageShape<Desc>;
    try {
      message = fromBinary(schema, data);
    } catch {
      continue;
    }
    yield { message, meta };
  }
}
