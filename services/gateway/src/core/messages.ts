/** What the gateway tells the bus, made from ledger rows. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Envelope } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { HeldItemSchema, type Job, JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import type { OutboxMessage } from "@sallyport/runtime";
import type { RequestRow } from "../db/ledger.ts";

/** The current attempt of a queued row. */
export function jobOf(row: RequestRow): Job {
  const job = readJob(row);
  job.attempt = row.attempt;
  job.deadlineMs = BigInt(row.deadlineAt.getTime());
  return job;
}

export interface HeldFacts {
  readonly stage: "door1" | "door2";
  readonly envelope: Envelope;
  readonly secondReviewer: boolean;
  readonly now: Date;
}

/** For the review queue; sent until governance confirms that it has it. */
export function heldMessage(row: RequestRow, held: HeldFacts): OutboxMessage {
  const message = create(HeldItemSchema, {
    requestId: row.id,
    tenant: row.tenant,
    stage: held.stage,
    model: row.model,
    hold: held.envelope,
    findings: row.findings,
    heldAtMs: BigInt(held.now.getTime()),
    expiresAtMs: BigInt(row.holdExpiresAt!.getTime()),
    secondReviewer: held.secondReviewer,
    subject: row.subject,
  });
  return {
    stream: "HELD",
    subject: subjects.held(row.id),
    msgId: `${row.id}.${held.stage}`,
    schema: HeldItemSchema,
    message,
    confirm: true,
    traceparent: row.traceparent,
  };
}

export function readJob(row: RequestRow): Job {
  return fromBinary(JobSchema, row.job);
}

export function jobBytesOf(job: Job): Uint8Array {
  return toBinary(JobSchema, job);
}

export function envelopeBytes(envelope: Envelope): Uint8Array {
  return toBinary(EnvelopeSchema, create(EnvelopeSchema, envelope));
}

export function readEnvelope(bytes: Uint8Array): Envelope {
  return fromBinary(EnvelopeSchema, bytes);
}
