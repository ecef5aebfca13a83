/**
 * Direct gets (NATS ADR-31): reading a stream without a consumer. Needs `allow_direct` and one permission a stream; leaves
 * nothing behind on the server, so a wiped or restarted one needs no cleaning up.
 */
import { createInbox, type Msg } from "@nats-io/transport-node";
import { AppError } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { inboxPrefix } from "./connection.ts";
import { decodeHeaders } from "./headers.ts";
import { idsOf, type MessageMeta } from "./meta.ts";
import { bucketStream, bucketSubject } from "./specs.ts";

export interface StoredMessage {
  data: Uint8Array;
  meta: MessageMeta;
}

const batchSize = 256;
const quietMs = 2_000;
const attemptsPerBatch = 3;
const getTimeoutMs = 1_000;

/** All messages of a subject that are in the stream now, in order. Throws UNAVAILABLE. */
export async function* readSubject(
  connection: Connection,
  service: string,
  stream: string,
  subject: string,
): AsyncGenerator<StoredMessage> {
  let next = 1;
  let failures = 0;
  for (;;) {
    const batch = { seq: next, batch: batchSize, next_by_subj: subject };
    const { messages, more, failed } = await readBatch(connection, service, stream, JSON.stringify(batch));
    yield* messages;
    next = (messages.at(-1)?.meta.sequence ?? next - 1) + 1;
    failures = failed ? failures + 1 : 0;
    if (failures >= attemptsPerBatch) throw unreadable(stream, failed);
    if (!failed && !more) return;
  }
}

interface Batch {
  messages: StoredMessage[];
  more: boolean;
  /** Why the batch broke off; what came before it is good. */
  failed?: unknown;
}

/** Never rejects. */
async function readBatch(connection: Connection, service: string, stream: string, body: string): Promise<Batch> {
  const messages: StoredMessage[] = [];
  return await new Promise<Batch>((resolve) => {
    let quiet: NodeJS.Timeout | undefined;
    const end = (more: boolean, failed?: unknown) => {
      clearTimeout(quiet);
      if (!subscription.isClosed()) subscription.unsubscribe();
      resolve({ messages, more, failed });
    };
    const wait = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => end(true, new Error("no answer")), quietMs);
    };
    const inbox = createInbox(inboxPrefix(service));
    const subscription = connection.nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error) return end(true, error);
        const code = message.headers?.code ?? 0;
        if (code === 404) return end(false);
        if (code === 204) return end(Number(message.headers?.get("Nats-Num-Pending") ?? 0) > 0);
        if (code !== 0) return end(true, new Error(`status ${code} ${message.headers?.description ?? ""}`));
        messages.push(storedMessage(message));
        wait();
      },
    });
    wait();
    connection.nc.publish(`$JS.API.DIRECT.GET.${stream}`, body, { reply: inbox });
  });
}

/** The newest value of a key, or undefined when there is none. Throws UNAVAILABLE when the bucket does not answer. */
export async function readLast(
  connection: Pick<Connection, "nc">,
  bucket: string,
  key: string,
): Promise<StoredMessage | undefined> {
  const stream = bucketStream(bucket);
  const reply = await connection.nc
    .request(`$JS.API.DIRECT.GET.${stream}.${bucketSubject(bucket, key)}`, "", { timeout: getTimeoutMs })
    .catch((error: unknown) => {
      throw unreadable(stream, error);
    });
  const code = reply.headers?.code ?? 0;
  if (code === 404) return undefined;
  if (code !== 0) throw unreadable(stream, new Error(`status ${code}`));
  const stored = storedMessage(reply);
  // A tombstone (NATS ADR-8) is no value.
  return stored.meta.headers["kv-operation"] ? undefined : stored;
}

function storedMessage(message: Msg): StoredMessage {
  const headers = decodeHeaders(message.headers);
  const meta: MessageMeta = {
    subject: headers["nats-subject"] ?? message.subject,
    sequence: Number(headers["nats-sequence"]),
    timestampMs: Date.parse(headers["nats-time-stamp"] ?? ""),
    deliveryCount: 0,
    ...idsOf(headers),
    headers,
    signal: neverAborted,
  };
  return { data: message.data, meta };
}

const neverAborted = new AbortController().signal;

function unreadable(stream: string, cause: unknown): AppError {
  return new AppError("UNAVAILABLE", `stream ${stream} cannot be read; try again`, {
    reason: "BUS_UNAVAILABLE",
    cause,
  });
}
