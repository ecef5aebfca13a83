/** A held request and what a person does with it. */
import { fromBinary } from "@bufbuild/protobuf";
import type { Envelope } from "@sallyport/attestation";
import type { Platform } from "@sallyport/infra/platform";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import type { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { waitFor } from "@sallyport/runtime/testing";
import { query } from "./database.ts";
import type { grpcClients, TestPlatform } from "./index.ts";
import { type LedgerRow, readRequest } from "./ledger.ts";

export interface HoldRow {
  stage: "door1" | "door2";
  attempt: number;
  hold: Envelope;
}

/** The hold that a person has to decide, once it is whole. */
export async function holdOf(platform: Platform, requestId: string): Promise<{ row: LedgerRow; hold: HoldRow }> {
  const row = await waitFor("the whole hold", async () => {
    const found = await readRequest(platform, requestId);
    return found?.holdStage === "door1" || found?.holdStage === "door2" ? found : undefined;
  });
  const sql = "SELECT stage, attempt, hold FROM holds WHERE request_id = $1 AND stage = $2";
  const [found] = await query<{ stage: "door1" | "door2"; attempt: number; hold: Buffer }>(platform, "gateway", sql, [
    requestId,
    row.holdStage,
  ]);
  return { row, hold: { ...found!, hold: fromBinary(EnvelopeSchema, found!.hold) } };
}

/** Claims and decides as a reviewer does, and waits for the ledger to follow. */
export async function decide(
  sallyport: TestPlatform,
  { reviews }: Pick<ReturnType<typeof grpcClients>, "reviews">,
  requestId: string,
  decision: ReviewDecision,
): Promise<LedgerRow> {
  const options = { bearer: sallyport.token("reviewer"), deadlineMs: 5_000 };
  const claim = () => reviews.claimItem({ requestId }, options).catch(() => undefined);
  const { leaseId } = await waitFor("the review item", claim, { timeoutMs: 15_000, everyMs: 100 });
  const justification = "harmless marker, seen by a person";
  await reviews.decideItem({ requestId, leaseId, decision, justification }, options);
  return await waitFor("the decision to take effect", async () => {
    const row = await readRequest(sallyport.platform, requestId);
    return row?.state === "held" ? undefined : row;
  });
}
