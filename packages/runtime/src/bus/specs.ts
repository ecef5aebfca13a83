/** From the declarations in proto/subjects.ts to what the server is told. Everything that provisions uses these. */
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { ConsumerSpec, StreamSpec } from "@sallyport/proto/subjects";

const retention = {
  workqueue: RetentionPolicy.Workqueue,
  limits: RetentionPolicy.Limits,
  interest: RetentionPolicy.Interest,
} as const;

/** `replicas`: 1 on one machine, 3 in a cluster. No purge, delete or rollup by anybody. */
export function streamConfig(spec: StreamSpec, replicas = 1): Partial<StreamConfig> & { name: string } {
  return {
    name: spec.name,
    subjects: [...spec.subjects],
    retention: retention[spec.retention],
    storage: spec.storage === "file" ? StorageType.File : StorageType.Memory,
    discard: spec.discard === "new" ? DiscardPolicy.New : DiscardPolicy.Old,
    max_age: nanos(spec.maxAgeMs),
    max_bytes: spec.maxBytes,
    max_msg_size: spec.maxMsgBytes,
    duplicate_window: nanos(spec.duplicateWindowMs),
    num_replicas: replicas,
    allow_direct: true,
    deny_delete: true,
    deny_purge: true,
  };
}

/**
 * The server counts deliveries but never gives up: a message that it stopped delivering would lie in the stream unseen.
 * Giving up (`maxDeliver`) is the consumer's, which sends it to DEAD.
 */
export function consumerConfig(spec: ConsumerSpec): Partial<ConsumerConfig> {
  return {
    name: spec.name,
    durable_name: spec.name,
    filter_subject: spec.filter,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(spec.ackWaitMs),
    max_deliver: -1,
    max_ack_pending: spec.maxAckPending,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    max_waiting: 512,
  };
}

/** A KV bucket is a stream of this shape (NATS ADR-8); one value of history, no deletes of values by age. */
export function bucketConfig(
  bucket: { name: string; maxValueBytes: number },
  replicas = 1,
): Partial<StreamConfig> & { name: string } {
  return {
    name: bucketStream(bucket.name),
    subjects: [bucketSubject(bucket.name, ">")],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs_per_subject: 1,
    max_bytes: 64 * bucket.maxValueBytes,
    max_msg_size: bucket.maxValueBytes,
    num_replicas: replicas,
    allow_direct: true,
    allow_rollup_hdrs: false,
    deny_delete: true,
    deny_purge: true,
  };
}

export function bucketStream(bucket: string): string {
  return `KV_${bucket}`;
}

export function bucketSubject(bucket: string, key: string): string {
  return `$KV.${bucket}.${key}`;
}
