/**
 * Every subject, stream, consumer and bucket of the bus, with the message each carries: the one place where they are
 * declared (a literal subject elsewhere fails lint). NATS permissions and provisioning are generated from here and from
 * infra/flows.ts.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import { AuditEventSchema } from "./gen/sallyport/audit/v1/audit_pb.ts";
import {
  ConfirmMessageSchema,
  ControlMessageSchema,
  DeadLetterSchema,
  HeldItemSchema,
  JobSchema,
  ReviewDecisionMessageSchema,
  VerdictMessageSchema,
  WindowMessageSchema,
} from "./gen/sallyport/bus/v1/bus_pb.ts";

import { TelemetryMessageSchema } from "./gen/sallyport/bus/v1/telemetry_pb.ts";

export const services = [
  "gateway",
  "pre-moderator",
  "inference-worker",
  "post-moderator",
  "watermarker",
  "audit",
  "governance",
] as const;
export type ServiceName = (typeof services)[number];

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const mebibyte = 1024 * 1024;

/** All windows of one request go through one partition, in order. */
const windowPartitions = 4;

/**
 * Makes anything safe as one subject token: letters, digits, `_` and `-` stay, every other UTF-8 byte becomes `=XX`.
 * Injective, so that two names never share a subject. Throws RangeError on an empty or over-long (128 bytes) name.
 */
function subjectToken(name: string): string {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > 128) throw new RangeError("subject token: 1 to 128 bytes");
  let token = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    token += /[A-Za-z0-9_-]/.test(char) ? char : `=${byte.toString(16).padStart(2, "0")}`;
  }
  return token;
}

/** FNV-1a over the request id: stable across processes and versions. */
function windowPartition(requestId: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(requestId)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % windowPartitions;
}

export const subjects = {
  job: (model: string, requestId: string) => `jobs.${subjectToken(model)}.${subjectToken(requestId)}`,
  window: (requestId: string) => `windows.${windowPartition(requestId)}.${subjectToken(requestId)}`,
  verdict: (gatewayId: string, requestId: string) => `verdicts.${subjectToken(gatewayId)}.${subjectToken(requestId)}`,
  held: (requestId: string) => `held.${subjectToken(requestId)}`,
  decision: (requestId: string) => `decisions.${subjectToken(requestId)}`,
  audit: (service: ServiceName, event: string) => `audit.${service}.${subjectToken(event)}`,
  control: (requestId: string) => `control.${subjectToken(requestId)}`,
  confirm: (producer: ServiceName) => `confirm.${producer}`,
  telemetry: (service: ServiceName) => `telemetry.${service}`,
  dead: (stream: string, requestId: string) => `dead.${stream}.${subjectToken(requestId)}`,
} as const;

/** All that one producer may say to the log: nobody speaks in another's name. */
export function auditSubjectsOf(producer: ServiceName): string {
  return `audit.${producer}.*`;
}

export interface ConsumerSpec {
  readonly name: string;
  readonly service: ServiceName;
  readonly filter: string;
  readonly ackWaitMs: number;
  /** After this many deliveries the handler's last failure goes to DEAD. */
  readonly maxDeliver: number;
  readonly maxAckPending: number;
}

export interface StreamSpec {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly message: DescMessage;
  readonly retention: "workqueue" | "limits" | "interest";
  readonly storage: "file" | "memory";
  readonly discard: "new" | "old";
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly maxMsgBytes: number;
  /** Nats-Msg-Id window: longer than the longest retry of the same message. */
  readonly duplicateWindowMs: number;
  readonly writers: readonly ServiceName[];
  readonly consumers: readonly ConsumerSpec[];
}

const partitions = Array.from({ length: windowPartitions }, (_, partition) => partition);

/**
 * Consumers listed here are made by the provisioner. Two kinds are made by their service, which alone may: the worker's
 * per model (`worker-<model token>` on JOBS) and each gateway's (`gateway-<gateway token>` on VERDICTS).
 */
export const streams = {
  JOBS: {
    name: "JOBS",
    subjects: ["jobs.*.*"],
    message: JobSchema,
    retention: "workqueue",
    storage: "file",
    discard: "new",
    maxAgeMs: hourMs,
    maxBytes: 512 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["gateway"],
    consumers: [],
  },
  WINDOWS: {
    name: "WINDOWS",
    subjects: ["windows.*.*"],
    message: WindowMessageSchema,
    retention: "limits",
    storage: "memory",
    discard: "old",
    maxAgeMs: 15 * minuteMs,
    maxBytes: 256 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 2 * minuteMs,
    writers: ["inference-worker"],
    consumers: partitions.map((partition) => ({
      name: `door2-${partition}`,
      service: "post-moderator" as const,
      filter: `windows.${partition}.*`,
      ackWaitMs: 10 * secondMs,
      maxDeliver: 5,
      maxAckPending: 1_000,
    })),
  },
  VERDICTS: {
    name: "VERDICTS",
    subjects: ["verdicts.*.*"],
    message: VerdictMessageSchema,
    retention: "limits",
    storage: "file",
    discard: "old",
    maxAgeMs: 15 * minuteMs,
    maxBytes: 256 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["post-moderator"],
    consumers: [],
  },
  HELD: {
    name: "HELD",
    subjects: ["held.*"],
    message: HeldItemSchema,
    retention: "limits",
    storage: "file",
    discard: "old",
    maxAgeMs: 24 * hourMs,
    maxBytes: 256 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["gateway"],
    consumers: [
      {
        name: "governance",
        service: "governance",
        filter: "held.*",
        ackWaitMs: 10 * secondMs,
        maxDeliver: 10,
        maxAckPending: 200,
      },
    ],
  },
  DECISIONS: {
    name: "DECISIONS",
    subjects: ["decisions.*"],
    message: ReviewDecisionMessageSchema,
    retention: "workqueue",
    storage: "file",
    discard: "new",
    maxAgeMs: 24 * hourMs,
    maxBytes: 64 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["governance"],
    consumers: [
      {
        name: "gateway",
        service: "gateway",
        filter: "decisions.*",
        ackWaitMs: 10 * secondMs,
        maxDeliver: 10,
        maxAckPending: 200,
      },
    ],
  },
  AUDIT: {
    name: "AUDIT",
    subjects: ["audit.*.*"],
    message: AuditEventSchema,
    retention: "interest",
    storage: "file",
    discard: "new",
    maxAgeMs: 24 * hourMs,
    maxBytes: 2_048 * mebibyte,
    maxMsgBytes: mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["gateway", "governance"],
    consumers: [
      {
        name: "audit",
        service: "audit",
        filter: "audit.*.*",
        ackWaitMs: 30 * secondMs,
        maxDeliver: 20,
        maxAckPending: 5_000,
      },
    ],
  },
  DEAD: {
    name: "DEAD",
    subjects: ["dead.*.*"],
    message: DeadLetterSchema,
    retention: "limits",
    storage: "file",
    discard: "old",
    maxAgeMs: 7 * 24 * hourMs,
    maxBytes: 256 * mebibyte,
    maxMsgBytes: 2 * mebibyte,
    duplicateWindowMs: 10 * minuteMs,
    writers: ["inference-worker", "post-moderator", "gateway", "audit", "governance"],
    consumers: [
      {
        name: "governance",
        service: "governance",
        filter: "dead.*.*",
        ackWaitMs: 10 * secondMs,
        maxDeliver: 5,
        maxAckPending: 100,
      },
    ],
  },
} as const satisfies Record<string, StreamSpec>;
export type StreamName = keyof typeof streams;

/** Consumers that a service makes for itself: durable, explicit ack. */
export const ownConsumers = {
  /** Worker: one a model. Two deliveries at most, because a second delivery is only told as ATTEMPT_LOST, never run. */
  job: (model: string): ConsumerSpec => ({
    name: `worker-${subjectToken(model)}`,
    service: "inference-worker",
    filter: `jobs.${subjectToken(model)}.*`,
    ackWaitMs: 10 * secondMs,
    maxDeliver: 5,
    maxAckPending: 64,
  }),
  verdict: (gatewayId: string): ConsumerSpec => ({
    name: `gateway-${subjectToken(gatewayId)}`,
    service: "gateway",
    filter: `verdicts.${subjectToken(gatewayId)}.*`,
    ackWaitMs: 10 * secondMs,
    maxDeliver: 20,
    maxAckPending: 5_000,
  }),
} as const;

/** Core NATS subjects: a loss costs time only, the ledger's reconciler makes up for it. */
export const coreSubjects = {
  control: {
    pattern: "control.*",
    message: ControlMessageSchema,
    writers: ["gateway"],
    readers: ["inference-worker", "post-moderator"],
  },
  confirm: {
    pattern: "confirm.*",
    message: ConfirmMessageSchema,
    writers: ["audit", "governance", "gateway"],
    readers: ["gateway", "governance"],
  },
  /** The chamber's spans and metrics: only the bus can be reached from there. */
  telemetry: {
    pattern: "telemetry.*",
    message: TelemetryMessageSchema,
    writers: ["inference-worker"],
    readers: ["governance"],
  },
} as const;

/** KV buckets of signed, versioned values (DSSE JSON, stage "state"); the newest value of each key is kept. */
export const buckets = {
  /** Key `active`: the packed policy bundle. */
  policy: {
    name: "policy",
    writer: "governance",
    readers: ["gateway", "pre-moderator", "post-moderator", "governance", "audit"],
    maxValueBytes: mebibyte,
  },
  /** Key `manifest`: the approved models. */
  models: {
    name: "models",
    writer: "governance",
    readers: ["gateway", "inference-worker", "post-moderator"],
    maxValueBytes: mebibyte,
  },
  /** Keys `active` (governance) and `break-glass` (an operator's own key and bus identity): what is paused or banned. */
  switches: {
    name: "switches",
    writer: "governance",
    readers: ["gateway", "pre-moderator", "inference-worker", "post-moderator", "watermarker", "governance", "audit"],
    maxValueBytes: mebibyte,
  },
  /** Keys `tokens-<0 to 7>` and `certificates`: API tokens (hashed) and client certificates that are believed. */
  credentials: {
    name: "credentials",
    writer: "governance",
    readers: ["gateway"],
    maxValueBytes: mebibyte,
  },
} as const satisfies Record<
  string,
  { name: string; writer: ServiceName; readers: readonly ServiceName[]; maxValueBytes: number }
>;
export type BucketName = keyof typeof buckets;
