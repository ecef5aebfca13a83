/** A reviewer's release needs door 2's hand, and a hard stop never gets it, whoever asks. */

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  createStatement,
  decodeStatement,
  type Envelope,
  envelopeDigest,
  signStatement,
  subjectOf,
  TicketError,
  verifyLink,
} from "@sallyport/attestation";
import type { CountersignRequest } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { AppError, countDecision, countTicket } from "@sallyport/runtime";
import type { Context } from "../context.ts";

const countersignTtlMs = 24 * 3_600_000;

export async function countersign(context: Context, { requestId, hold, review }: CountersignRequest) {
  if (!hold || !review)
    throw new AppError("INVALID_ARGUMENT", "hold and review are both needed", { reason: "INVALID_FIELD" });
  const held = verify(context, requestId, hold, review);
  const { predicate } = held;
  // Of identity and model the hold says nothing: the gateway, which knows them, looks at those.
  context.switches.check({ tenant: predicate.tenant });
  countDecision("countersign", { decision: "allow", findings: [] });
  const now = context.clock.now();
  const statement = createStatement(subjectOf(held), {
    requestId,
    attempt: predicate.attempt,
    tenant: predicate.tenant,
    stage: "countersign",
    modality: predicate.modality,
    decision: "allow",
    findings: [],
    policyDigest: context.policy.get().digest,
    modelDigest: predicate.modelDigest,
    index: 0,
    prev: envelopeDigest(review),
    final: false,
    issuedAt: now.toISOString(),
    expiresAt: new Date(now.getTime() + countersignTtlMs).toISOString(),
  });
  return { countersign: signStatement(statement, context.countersigner), signedAt: timestampFromDate(now) };
}

/** Both signatures, the chain between them, and that nothing in the hold is a hard stop. */
function verify({ trust, clock }: Context, requestId: string, hold: Envelope, review: Envelope) {
  try {
    // Read before it is verified only to know what to expect; verifyLink checks the signature first.
    const claimed = decodeStatement(hold.payload);
    const { stage, tenant, modality, attempt, index, prev } = claimed.predicate;
    if (stage !== "door1" && stage !== "door2")
      throw new TicketError("STAGE_UNEXPECTED", "only a door's hold is released");
    // Of a streamed part nobody has seen the rest: only the whole output is a person's to release.
    if (stage === "door2" && !claimed.predicate.final) {
      throw new AppError("PERMISSION_DENIED", "only a hold of the whole output can be released", {
        reason: "HOLD_NOT_WHOLE",
      });
    }
    const about = { trust, requestId, tenant, modality, clock: () => clock.now() };
    const held = verifyLink(hold, about, {
      ...{ stage, attempt, decisions: ["hold" as const] },
      subject: subjectOf(claimed),
      places: [{ index, prev }],
      // A person may take longer than the door's word is good for; the review's own time is checked.
      mayHaveExpired: true,
    });
    verifyLink(review, about, {
      ...{ stage: "review" as const, attempt, decisions: ["allow" as const] },
      subject: subjectOf(claimed),
      places: [{ index: 0, prev: envelopeDigest(hold) }],
    });
    countTicket();
    return held.statement;
  } catch (error) {
    countTicket(error instanceof AppError ? error.reason : error);
    if (error instanceof AppError) throw error;
    const reason = error instanceof Error && "code" in error ? String(error.code) : "INVALID";
    const message =
      reason === "HARD_STOP" ? "a hard stop cannot be released by anybody" : "hold and review do not belong together";
    throw new AppError("PERMISSION_DENIED", message, { reason, cause: error });
  }
}
