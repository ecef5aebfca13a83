/** Events as producers send them, for tests. */
import { create } from "@bufbuild/protobuf";
import { canonicalBytes, createRequestSecret, type RequestSecret, saltedDigest, seal } from "@sallyport/attestation";
import { WrappedSecretSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import {
  type AuditEvent,
  AuditEventSchema,
  BodyKind,
  VaultBodySchema,
} from "@sallyport/proto/sallyport/audit/v1/audit";
import { subjects } from "@sallyport/proto/subjects";
import { readEvent } from "../src/domain/event.ts";

export interface EventOptions {
  readonly sequence: number;
  readonly epoch?: string;
  readonly event?: string;
  readonly requestId?: string;
  readonly terminal?: boolean;
  readonly detail?: unknown;
}

export const gatewayEpoch = "0190a1b2-0000-7000-8000-000000000001";

export function gatewayEvent(options: EventOptions, more: object = {}): AuditEvent {
  const { sequence, epoch = gatewayEpoch, event = "request.released", requestId = "r1", terminal = false } = options;
  const record = {
    ...{ v: 1, producer: "gateway", epoch, sequence, time: "2026-01-02T03:04:05.678Z", event },
    request: { id: requestId },
    detail: options.detail ?? {},
    ...more,
  };
  return create(AuditEventSchema, {
    ...{ producer: "gateway", epoch, sequence: BigInt(sequence), requestId, terminal },
    record: canonicalBytes(record),
  });
}

export function subjectOf(message: AuditEvent): string {
  const { event } = JSON.parse(Buffer.from(message.record).toString()) as { event: string };
  return subjects.audit("gateway", event);
}

/** The event as the service reads it. */
export function readGatewayEvent(options: EventOptions) {
  const message = gatewayEvent(options);
  const reading = readEvent(message, subjectOf(message));
  if (!reading.ok) throw new Error(reading.reason);
  return reading.event;
}

export interface HeldBodies {
  readonly prompt: Uint8Array;
  /** What the record's digest is of. */
  readonly output: Uint8Array;
  /** What is sealed in its place; the same unless a test is about the difference. */
  readonly sealedOutput?: Uint8Array;
}

/** A held request: its event carries both bodies, sealed, and their digests. */
export async function heldEvent(
  options: EventOptions,
  { prompt, output, sealedOutput = output }: HeldBodies,
  wrap: (secret: RequestSecret, requestId: string) => Promise<string>,
): Promise<AuditEvent> {
  const secret = createRequestSecret();
  const requestId = options.requestId ?? "r1";
  const digests = { request: saltedDigest(secret.salt, prompt), output: saltedDigest(secret.salt, output) };
  const message = gatewayEvent({ event: "request.held", ...options, requestId }, { digests });
  const sealed = (kind: "prompt" | "output", attempt: number, bytes: Uint8Array) =>
    seal(secret, { requestId, kind, attempt, index: 0 }, bytes);
  message.vaultSecret = create(WrappedSecretSchema, { service: "audit", jwe: await wrap(secret, requestId) });
  const bodies = [
    { kind: BodyKind.PROMPT, context: "prompt", attempt: 0, ciphertext: sealed("prompt", 0, prompt) },
    { kind: BodyKind.OUTPUT, context: "output", attempt: 1, ciphertext: sealed("output", 1, sealedOutput) },
  ];
  message.bodies = bodies.map((body) => create(VaultBodySchema, body));
  return message;
}
