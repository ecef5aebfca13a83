/** From what an operation wants to send to rows of the outbox table. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type AuditEvent, AuditEventSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { type ServiceName, subjects } from "@sallyport/proto/subjects";
import { AppError } from "../errors.ts";
import { parseTraceparent } from "../trace.ts";
import type { Tx } from "./database.ts";

/** Where an audit event stands: numbered from 1 within (producer, boot epoch) in commit order, without gaps. */
export interface AuditPlace {
  producer: ServiceName;
  /** UUID of this boot. */
  epoch: string;
  sequence: number;
  /** RFC 3339 UTC with milliseconds. */
  time: string;
}

/** The next places, for an operation that needs its record (and leaf hash) before it writes. Unused ones are given back. */
export interface AuditPlaces {
  next(): AuditPlace;
}

export interface BusMessage<Desc extends DescMessage = DescMessage> {
  stream: string;
  subject: string;
  /** Nats-Msg-Id. A message with the same id that still waits here is the same message: it is kept, not doubled. */
  msgId: string;
  schema: Desc;
  message: MessageInitShape<Desc>;
  /** True: kept until the consumer confirms its effect. False: until the stream has acknowledged it. */
  confirm: boolean;
  /** What it belongs to, where that is not what the operation belongs to. */
  traceparent?: string;
}

export type AuditBuild = (place: AuditPlace) => MessageInitShape<typeof AuditEventSchema>;

/** An audit event, either built at its place, or made already with a place from `places`, in the order they were taken. */
export interface AuditMessage {
  audit: { event: string; build: AuditBuild } | { event: string; message: AuditEvent };
  /** What it belongs to, where that is not what the operation belongs to. */
  traceparent?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: messages of different schemas travel in one list.
export type OutboxMessage = BusMessage<any> | AuditMessage;

export interface OutboxRow {
  msgId: string;
  sequence: number | null;
  stream: string;
  subject: string;
  type: string;
  payload: Uint8Array;
  traceparent: string;
  confirm: boolean;
}

/** Hands out places from `first` on, and checks that what comes back uses them without gaps. */
export class Places implements AuditPlaces {
  readonly #producer: ServiceName;
  readonly #epoch: string;
  readonly #time: string;
  #next: number;

  constructor(producer: ServiceName, epoch: string, first: number, time: string) {
    this.#producer = producer;
    this.#epoch = epoch;
    this.#next = first;
    this.#time = time;
  }

  next(): AuditPlace {
    const sequence = this.#next;
    this.#next += 1;
    return { producer: this.#producer, epoch: this.#epoch, sequence, time: this.#time };
  }
}

export interface RowContext {
  producer: ServiceName;
  epoch: string;
  /** The first place that is free. */
  first: number;
  time: string;
  /** Of the operation; empty when it belongs to nothing. */
  traceparent: string;
}

/** Throws INTERNAL when an audit event does not stand at the next place: a gap would look like a lost record for ever. */
export function toRows(messages: readonly OutboxMessage[], context: RowContext): OutboxRow[] {
  let sequence = context.first;
  return messages.map((message) => {
    if (!("audit" in message)) return busRow(message, context);
    const row = auditRow(message.audit, {
      ...{ ...context, first: sequence },
      traceparent: nearer(message.traceparent, context.traceparent),
    });
    sequence += 1;
    return row;
  });
}

/** The message's own trace; within it the place of the operation, which is nearer to the message. */
function nearer(own: string | undefined, operation: string): string {
  if (!own) return operation;
  return parseTraceparent(own)?.traceId === parseTraceparent(operation)?.traceId ? operation : own;
}

function busRow(
  { stream, subject, msgId, schema, message, confirm, traceparent }: BusMessage,
  context: RowContext,
): OutboxRow {
  const payload = toBinary(schema, create(schema, message));
  return {
    msgId,
    sequence: null,
    stream,
    subject,
    type: schema.typeName,
    payload,
    traceparent: nearer(traceparent, context.traceparent),
    confirm,
  };
}

function auditRow(audit: AuditMessage["audit"], { producer, epoch, first, time, traceparent }: RowContext): OutboxRow {
  const place = { producer, epoch, sequence: first, time };
  const event = "build" in audit ? create(AuditEventSchema, audit.build(place)) : audit.message;
  if ("build" in audit) Object.assign(event, { producer, epoch, sequence: BigInt(first) });
  if (event.producer !== producer || event.epoch !== epoch || event.sequence !== BigInt(first)) {
    throw new AppError("INTERNAL", "an audit event is not at the next place of its epoch", { reason: "AUDIT_PLACE" });
  }
  return {
    msgId: `${producer}.${epoch}.${first}`,
    sequence: first,
    stream: "AUDIT",
    subject: subjects.audit(producer, audit.event),
    type: AuditEventSchema.typeName,
    payload: toBinary(AuditEventSchema, event),
    traceparent,
    confirm: true,
  };
}

/** Stored in the given order with the transaction. `dueInMs`: when the recovery poll takes over if nothing has been heard. */
export function sendRows(tx: Tx, epoch: string, rows: readonly OutboxRow[], dueInMs: number): void {
  if (rows.length === 0) return;
  const column = <Key extends keyof OutboxRow>(key: Key) => rows.map((row) => row[key]);
  tx.send(
    `INSERT INTO outbox (msg_id, epoch, sequence, stream, subject, type, payload, traceparent, confirm, due_at)
     SELECT msg_id, $1, sequence, stream, subject, type, payload, traceparent, confirm, now() + $2 * interval '1 millisecond'
     FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::boolean[])
       WITH ORDINALITY AS m (msg_id, sequence, stream, subject, type, payload, traceparent, confirm, position)
     ORDER BY position
     ON CONFLICT (msg_id) DO NOTHING`,
    [
      epoch,
      dueInMs,
      column("msgId"),
      column("sequence"),
      column("stream"),
      column("subject"),
      column("type"),
      rows.map(({ payload }) => Buffer.from(payload)),
      column("traceparent"),
      column("confirm"),
    ],
  );
}
