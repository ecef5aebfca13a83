import { create, toBinary } from "@bufbuild/protobuf";
import { decodeStatement, type Envelope, subjectOf, verifyLink } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import type { HeldItem } from "@sallyport/proto/sallyport/bus/v1/bus";
import { AppError, countTicket } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { insertItem } from "../db/items.ts";

const maxWaitMs = 31 * 24 * 3_600_000;

/** A hold comes into the queue, once. What no door has signed is not worth a person's time, and ends in DEAD. */
export async function receiveHeld(context: Context, message: HeldItem): Promise<void> {
  const { requestId, tenant, model, subject } = message;
  const { stage, findings } = countingTicket(() => verifyHold(context, message));
  const [heldAt, expiresAt] = [new Date(Number(message.heldAtMs)), new Date(Number(message.expiresAtMs))];
  const waitMs = expiresAt.getTime() - heldAt.getTime();
  if (!(waitMs > 0 && waitMs <= maxWaitMs)) throw invalid("the hold's times make no sense");
  const hold = toBinary(EnvelopeSchema, create(EnvelopeSchema, message.hold));
  await context.outbox.commit(async (tx) => {
    const facts = { requestId, stage, tenant, subject, model, hold, findings, heldAt, expiresAt };
    await insertItem(tx, { ...facts, needsSecond: message.secondReviewer });
    return { value: undefined, messages: [] };
  });
}

function verifyHold({ trust, clock }: Context, { hold, requestId, tenant, stage }: HeldItem) {
  if (!hold || (stage !== "door1" && stage !== "door2")) throw invalid("a hold without its envelope or stage");
  // Read before it is verified only to know what to expect; verifyLink checks the signature first.
  const claimed = decodeStatement(hold.payload);
  const { attempt, index, prev, modality } = claimed.predicate;
  const { statement } = verifyLink(
    hold satisfies Envelope,
    { trust, requestId, tenant, modality, clock: () => clock.now() },
    {
      ...{ stage, attempt, decisions: ["hold"], mayHardStop: true, mayHaveExpired: true },
      subject: subjectOf(claimed),
      places: [{ index, prev }],
    },
  );
  return { stage, findings: statement.predicate.findings } as const;
}

function countingTicket<T>(verify: () => T): T {
  try {
    const verified = verify();
    countTicket();
    return verified;
  } catch (error) {
    countTicket(error instanceof AppError ? error.reason : error);
    throw error;
  }
}

function invalid(message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason: "HOLD_INVALID" });
}
