/** Door 2's word on its way to the gateway that owns the request. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { saltedDigest, seal } from "@sallyport/attestation";
import { type Job, type VerdictMessage, VerdictMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type WindowContent, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { subjects } from "@sallyport/proto/subjects";
import type { Context } from "../context.ts";
import { signVerdict, type Verdict } from "../domain/statements.ts";
import type { Run } from "./run.ts";

export type Word = Omit<Verdict, "outputDigest" | "ttlMs">;

const wire = { allow: Decision.ALLOW, sanitise: Decision.SANITISE, deny: Decision.DENY, hold: Decision.HOLD } as const;

export interface WindowWord {
  readonly word: Word;
  /** What the word is about; sent along unless it is denied, or held and not whole. */
  readonly content: MessageInitShape<typeof WindowContentSchema>;
  readonly whole: boolean;
  readonly holdMs: number;
  readonly secondReviewer: boolean;
}

/** Signs and publishes; returns the digest-bearing envelope. */
export async function publishWindow(
  context: Context,
  run: Run,
  { word, content, whole, holdMs, secondReviewer }: WindowWord,
) {
  const bytes = toBinary(WindowContentSchema, create(WindowContentSchema, content));
  const outputDigest = saltedDigest(run.secret.salt, bytes);
  const envelope = signVerdict(context.signer, run.job, { ...word, outputDigest, ttlMs: context.config.ticketTtlMs });
  const { requestId, attempt } = run.job;
  const released = word.decision === "allow" || word.decision === "sanitise";
  const kind = released ? "verdict" : "output";
  const sealed =
    released || whole ? seal(run.secret, { requestId, kind, attempt, index: word.index }, bytes) : new Uint8Array();
  const window = {
    decision: wire[word.decision],
    envelope,
    content: sealed,
    findings: [...word.findings],
    final: word.final,
    whole,
    obligations: { secondReviewer, holdMs: BigInt(holdMs) },
    policyDigest: word.policyDigest,
  };
  const name = whole ? "whole" : word.decision;
  const body = { case: "window" as const, value: window };
  const claim = run.told ? undefined : run.claim;
  await send(context, run.job, { index: word.index, body, claim }, `${word.index}.${name}`);
  run.told = true;
  return envelope;
}

export async function publishStarted(context: Context, run: Run): Promise<void> {
  await send(context, run.job, { index: 0, body: { case: "started", value: run.claim } }, "0.started");
  run.told = true;
}

type Body = Pick<MessageInitShape<typeof VerdictMessageSchema>, "body" | "claim"> & Pick<VerdictMessage, "index">;

/** Whose attempt, and which gateway waits for it. */
export type Route = Pick<Job, "requestId" | "attempt" | "gatewayId">;

async function send(
  context: Context,
  { requestId, attempt, gatewayId }: Route,
  message: Body,
  id: string,
): Promise<void> {
  const subject = subjects.verdict(gatewayId, requestId);
  const verdict = { requestId, attempt, ...message };
  await context.bus.publish("VERDICTS", subject, VerdictMessageSchema, verdict, {
    msgId: `${requestId}.${attempt}.${id}`,
  });
}

export function publishFailed(
  context: Context,
  route: Route,
  failure: { code: string; retryable: boolean; message: string },
): Promise<void> {
  return send(context, route, { index: 0, body: { case: "failed", value: failure } }, `0.failed`);
}

export type { WindowContent };
