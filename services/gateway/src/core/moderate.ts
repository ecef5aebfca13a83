/** Door 1's judgement of free-standing texts, for gRPC and HTTP alike. Recorded, never accepted for a model. */
import { type TextJudgement, TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, type AuditPlaces, type Caller, type TraceParent, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { contentLimits } from "../domain/content.ts";
import { buildModerationEvent } from "../events.ts";
import { decisionNames, refusal } from "./door1.ts";
import { authorise } from "./permissions.ts";
import { reserve } from "./reserve.ts";
import { refuseOff } from "./switched-off.ts";

const maxRecordedCodes = 8;
const maxTexts = 32;

export interface ModerationCall {
  readonly identity: Caller;
  readonly texts: readonly string[];
  readonly modality: "text" | "image_prompt";
  readonly trace: TraceParent;
}

export interface Moderation {
  readonly id: string;
  /** One a text, in order; each has a decision that is known. */
  readonly judgements: readonly TextJudgement[];
  readonly policyDigest: string;
  /** Response fields about quotas. */
  readonly quota: Readonly<Record<string, string>>;
}

export async function moderate(context: Context, call: ModerationCall): Promise<Moderation> {
  const { identity } = call;
  refuseOff(context, identity);
  authorise(context, identity, "moderate", {});
  const texts = [...call.texts];
  checkTexts(texts);
  using _slot = context.inFlight.enter(identity);
  const id = context.ids.uuid();
  const quota = await reserve(context, { id, identity, take: { tokens: 0, images: 0 } }).granted;
  try {
    const judged = await judgeAndRecord(context, { ...call, texts });
    context.quotas.settle(id, true);
    return { id: `modr-${id}`, ...judged, quota };
  } catch (error) {
    context.quotas.settle(id);
    throw error;
  }
}

async function judgeAndRecord(context: Context, { identity, texts, modality, trace }: ModerationCall) {
  const question = {
    identity: { ...identity, groups: [...identity.groups] },
    texts: [...texts],
    modality: modality === "image_prompt" ? TextModality.IMAGE_PROMPT : TextModality.TEXT,
  };
  const { judgements, policyDigest } = await context.door1
    .judgeTexts(question, { deadlineMs: context.limits.door1DeadlineMs, waitForReady: true })
    .catch((error: unknown) => {
      throw refusal(error);
    });
  if (judgements.length !== texts.length || judgements.some(({ decision }) => !decisionNames[decision]))
    throw new AppError("UNAVAILABLE", "the review was incomplete; try again", { reason: "DOOR1_INVALID" });
  const results = judgements.map(({ decision, findings }) => ({
    decision: decisionNames[decision]!,
    // A record has its bound (64 KiB): of the strongest reasons a few will do.
    codes: [...new Set(findings.map(({ code }) => code))].slice(0, maxRecordedCodes),
  }));
  const facts = { identity, modality, policyDigest, results, traceId: trace.traceId };
  const record = async (_: Tx, places: AuditPlaces) => {
    const audit = { event: "moderation.checked", message: buildModerationEvent(places.next(), facts) };
    return { value: undefined, messages: [{ audit }] };
  };
  await context.outbox.commit(record, { pipelined: true });
  return { judgements, policyDigest };
}

function checkTexts(texts: readonly string[]): void {
  const refuse = (problem: string) => {
    throw new AppError("INVALID_ARGUMENT", problem, { reason: "INVALID_FIELD", details: { field: "input" } });
  };
  if (texts.length === 0 || texts.length > maxTexts) refuse(`input must hold 1 to ${maxTexts} texts`);
  if (texts.some((text) => !text.isWellFormed())) refuse("input must be valid Unicode: it holds an unpaired surrogate");
  const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (size > contentLimits.contentBytes)
    refuse(`input is ${size} bytes; at most ${contentLimits.contentBytes} are allowed`);
}
