/** Values of signed-state buckets: read by a direct get, put as a message of the bucket's stream (NATS ADR-8). */
import type { Connection } from "./connection.ts";
import { readLast } from "./direct.ts";
import { encodeHeaders } from "./headers.ts";
import type { Publisher } from "./publisher.ts";
import { bucketStream, bucketSubject } from "./specs.ts";

export interface StoredValue {
  readonly value: Uint8Array;
  /** Of the bucket's stream. */
  readonly sequence: number;
}

export async function readEntry(
  connection: Pick<Connection, "nc">,
  bucket: string,
  key: string,
): Promise<StoredValue | undefined> {
  const found = await readLast(connection, bucket, key);
  return found && { value: found.data, sequence: found.meta.sequence };
}

export interface PutOptions {
  source: string;
  time: Date;
  /** Only while the key's value is this one (0: none). */
  lastSequence?: number;
}

/** Resolves on acknowledgement; throws as Publisher.send does. */
export async function putValue(
  publisher: Publisher,
  bucket: string,
  key: string,
  value: Uint8Array,
  { source, time, lastSequence }: PutOptions,
): Promise<void> {
  const msgId = crypto.randomUUID();
  const headers = encodeHeaders({ id: msgId, type: "sallyport.state", source, time });
  await publisher.send(bucketStream(bucket), bucketSubject(bucket, key), value, { msgId, headers, lastSequence });
}
