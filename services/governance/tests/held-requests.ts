/** Plays the gateway and the doors: held requests as they come over the bus, with their bodies for the vault. */
import { randomUUID } from "node:crypto";
import {
  canonicalBytes,
  createRequestSecret,
  createStatement,
  type Envelope,
  envelopeDigest,
  type Finding,
  type Json,
  type Predicate,
  type RequestSecret,
  type Stage,
  type Subject,
  saltedDigest,
  seal,
  signStatement,
  wrapSecret,
} from "@sallyport/attestation";
import { type AuditEvent, AuditEventSchema, BodyKind } from "@sallyport/proto/sallyport/audit/v1/audit";
import { HeldItemSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import type { Bus } from "@sallyport/runtime";
import type { Platform } from "./platform.ts";

export const tenant = "acme";
export const modelDigest = "c".repeat(64);
const policyDigest = "d".repeat(64);
const epoch = randomUUID();
let sequence = 0;

export interface Held {
  requestId: string;
  secret: RequestSecret;
  prompt: Uint8Array;
  output: Uint8Array;
  hold: Envelope;
  /** Of a held output: what admitted the prompt, and the worker's claim. */
  door1?: Envelope;
  claim?: Envelope;
  msgId: string;
}

export interface HeldOptions {
  stage?: "door1" | "door2";
  hardStop?: boolean;
  secondReviewer?: boolean;
  /** Whose request it is. */
  subject?: string;
  tenant?: string;
  waitMs?: number;
  /** Sends the hold signed by a key that is not its door's. */
  forged?: boolean;
}

/** Holds a request: audit event with its bodies, then the HELD message. */
export async function holdRequest(platform: Platform, bus: Bus, options: HeldOptions = {}): Promise<Held> {
  const { stage = "door1" } = options;
  const requestId = randomUUID();
  const secret = createRequestSecret();
  const [prompt, output] = [Buffer.from(`prompt of ${requestId}`), Buffer.from(`output of ${requestId}`)];
  const sign = signerOf(platform, requestId, options);
  const request: Subject = { name: "request", digest: saltedDigest(secret.salt, prompt) };
  const wholeOutput: Subject = { name: "output", digest: saltedDigest(secret.salt, output) };
  const findings = [finding(options.hardStop ?? false)];
  const held: Held = {
    ...{ requestId, secret, prompt, output },
    hold: undefined as never,
    msgId: `${requestId}.${stage}`,
  };
  if (stage === "door1") {
    held.hold = sign("door1", request, { decision: "hold", findings, policyDigest });
  } else {
    const parameters = { runId: "run-1", seed: 1, paramsDigest: "e".repeat(64), engine: "llama" };
    held.door1 = sign("door1", request, { decision: "allow", policyDigest });
    held.claim = sign("worker", request, {
      attempt: 1,
      decision: "claim",
      modelDigest,
      prev: envelopeDigest(held.door1),
      parameters,
    });
    const prev = envelopeDigest(held.claim);
    held.hold = sign("door2", wholeOutput, {
      attempt: 1,
      decision: "hold",
      findings,
      policyDigest,
      modelDigest,
      prev,
      final: true,
    });
  }
  await sendBodies(platform, bus, held, stage);
  await sendHeld(bus, held, options);
  return held;
}

export async function sendHeld(bus: Bus, { requestId, hold, msgId }: Held, options: HeldOptions = {}): Promise<void> {
  const now = Date.now();
  const message = {
    ...{ requestId, hold, stage: options.stage ?? "door1", tenant: options.tenant ?? tenant, model: "tiny" },
    ...{ heldAtMs: BigInt(now), expiresAtMs: BigInt(now + (options.waitMs ?? 3_600_000)) },
    ...{ secondReviewer: options.secondReviewer ?? false, subject: options.subject ?? "uma" },
  };
  await bus.publish("HELD", subjects.held(requestId), HeldItemSchema, message, { msgId });
}

function signerOf({ keys }: Platform, requestId: string, options: HeldOptions) {
  return (stage: Stage, subject: Subject, over: Partial<Predicate>): Envelope => {
    const now = Date.now();
    const statement = createStatement(subject, {
      ...{ requestId, stage, tenant: options.tenant ?? tenant, modality: "text", attempt: 0, index: 0, findings: [] },
      ...{ decision: "allow", policyDigest: null, modelDigest: null, prev: null, final: false },
      ...{ issuedAt: new Date(now).toISOString(), expiresAt: new Date(now + 3_600_000).toISOString() },
      ...over,
    });
    const envelope = signStatement(statement, keys.signer(stage));
    if (options.forged) envelope.signatures[0]!.sig[0]! ^= 1;
    return envelope;
  };
}

function finding(hardStop: boolean): Finding {
  return { code: hardStop ? "TEST_HARD_STOP" : "TEST_REVIEW", category: "test", score: 0.7, hardStop, layer: "rules" };
}

async function sendBodies({ keys }: Platform, bus: Bus, held: Held, stage: "door1" | "door2"): Promise<void> {
  const { requestId, secret } = held;
  const [wrapped] = await wrapSecret(secret, [keys.trust.encryptionKey("audit")], requestId);
  const prompt = seal(secret, { requestId, kind: "prompt", attempt: 0, index: 0 }, held.prompt);
  const bodies: { kind: BodyKind; context: string; attempt: number; index: number; ciphertext: Uint8Array }[] = [
    { kind: BodyKind.PROMPT, context: "prompt", attempt: 0, index: 0, ciphertext: prompt },
  ];
  if (stage === "door2") {
    const output = seal(secret, { requestId, kind: "output", attempt: 1, index: 0 }, held.output);
    bodies.push({ kind: BodyKind.OUTPUT, context: "output", attempt: 1, index: 0, ciphertext: output });
  }
  sequence += 1;
  const place = { producer: "gateway", epoch, sequence, time: new Date().toISOString() };
  const digests = {
    request: saltedDigest(secret.salt, held.prompt),
    ...(stage === "door2" && { output: saltedDigest(secret.salt, held.output) }),
  };
  const record = canonicalBytes({ v: 1, event: "request.held", ...place, request: { id: requestId }, digests } as Json);
  const event = { ...place, sequence: BigInt(sequence), record, bodies, requestId, terminal: false };
  const message = { ...event, vaultSecret: { service: "audit", jwe: wrapped!.jwe } } as unknown as AuditEvent;
  const msgId = `gateway.${epoch}.${sequence}`;
  await bus.publish("AUDIT", subjects.audit("gateway", "request.held"), AuditEventSchema, message, { msgId });
}
