/** Asks the pre-moderator, and believes only what it signed over exactly these bytes. */
import { type Envelope, type Finding, type RequestSecret, saltedDigest, verifyLink } from "@sallyport/attestation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, asAppError, type CallerIdentity, countTicket, isSwitchCode, switchError } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { boundedHoldMs } from "../domain/hold-time.ts";
import type { ServedModel } from "../domain/manifest.ts";

export interface Door1Question {
  readonly id: string;
  readonly identity: CallerIdentity;
  readonly bytes: Uint8Array;
  readonly secret: RequestSecret;
  readonly model: ServedModel;
  readonly signal: AbortSignal;
}

export interface Door1Verdict {
  readonly decision: "allow" | "deny" | "hold" | "sanitise";
  /** What was judged, or for sanitise what door 1 made of it: this is the request from here on. */
  readonly content: Uint8Array;
  readonly findings: readonly Finding[];
  readonly policyDigest: string;
  readonly envelope: Envelope;
  readonly holdMs: number;
  readonly secondReviewer: boolean;
}

export const decisionNames: Readonly<Partial<Record<Decision, Door1Verdict["decision"]>>> = {
  [Decision.ALLOW]: "allow",
  [Decision.DENY]: "deny",
  [Decision.HOLD]: "hold",
  [Decision.SANITISE]: "sanitise",
};

export async function askDoor1(context: Context, question: Door1Question): Promise<Door1Verdict> {
  const { id, identity, bytes, secret, model, signal } = question;
  const reply = await context.door1
    .judgeRequest(
      {
        requestId: id,
        identity: { ...identity, groups: [...identity.groups] },
        content: bytes,
        salt: secret.salt,
        modelDigest: model.digest,
        modelTier: model.tier,
      },
      { deadlineMs: context.limits.door1DeadlineMs, signal, waitForReady: true },
    )
    .catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw refusal(error);
    });
  const decision = decisionNames[reply.decision];
  if (!decision || !reply.envelope) throw unusable();
  const content = decision === "sanitise" ? reply.sanitisedContent : bytes;
  const { predicate } = verify(context, question, reply.envelope, decision, content);
  return {
    decision,
    content,
    findings: predicate.findings,
    policyDigest: predicate.policyDigest ?? "",
    envelope: reply.envelope,
    holdMs: boundedHoldMs(reply.obligations?.holdMs),
    secondReviewer: reply.obligations?.secondReviewer ?? false,
  };
}

function verify(
  { trust, clock }: Context,
  question: Door1Question,
  envelope: Envelope,
  decision: Door1Verdict["decision"],
  content: Uint8Array,
) {
  try {
    const about = {
      trust,
      requestId: question.id,
      tenant: question.identity.tenant,
      modality: "text" as const,
      clock: () => clock.now(),
    };
    const link = verifyLink(envelope, about, {
      stage: "door1",
      attempt: 0,
      decisions: [decision],
      subject: { name: "request", digest: saltedDigest(question.secret.salt, content) },
      sentDigest: saltedDigest(question.secret.salt, question.bytes),
      places: [{ index: 0, prev: null }],
      mayHardStop: decision === "deny" || decision === "hold",
    });
    countTicket();
    return link.statement;
  } catch (error) {
    countTicket(error);
    throw unusable(error);
  }
}

/** Door 1's own complaint about the content is the caller's to mend, and a switch is a switch; everything else is a door that is not there. */
export function refusal(error: unknown): AppError {
  const known = asAppError(error);
  if (known.code === "INVALID_ARGUMENT" || known.code === "RESOURCE_EXHAUSTED") return known;
  if (isSwitchCode(known.reason)) return switchError(known.reason);
  return new AppError("UNAVAILABLE", "requests cannot be reviewed right now, so none is accepted; try again", {
    reason: "DOOR1_UNAVAILABLE",
    cause: error,
  });
}

function unusable(cause?: unknown): AppError {
  return new AppError(
    "UNAVAILABLE",
    "the review of this request could not be verified, so it was not accepted; try again",
    { reason: "DOOR1_INVALID", cause },
  );
}
