import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { BodyKind } from "@sallyport/proto/sallyport/audit/v1/audit";
import type { ReadItemRequest } from "@sallyport/proto/sallyport/governance/v1/review";
import type { CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { personOf } from "../core/authorise.ts";
import { askNeighbour } from "../core/neighbours.ts";
import { itemView } from "../core/views.ts";
import { checkLease, type Item } from "../domain/item.ts";
import { auditEvent } from "../events.ts";
import { itemOf } from "./claim-item.ts";

const vaultDeadlineMs = 10_000;

/** The bodies, under the caller's lease: that they are read is on record before they are. */
export async function readItem(
  context: Context,
  caller: CallerIdentity,
  request: ReadItemRequest,
  signal: AbortSignal,
) {
  const { clock, outbox } = context;
  const item = await itemOf(context, caller, request.requestId, "review.read");
  checkLease(item, personOf(caller), request.leaseId, clock.now());
  await outbox.commit(async () => {
    const event = auditEvent({ event: "review.read", actor: caller, item, detail: { lease: item.leaseId } });
    return { value: undefined, messages: [event] };
  });
  const prompt = await openBody(context, item, BodyKind.PROMPT, signal);
  const output = item.stage === "door2" ? await openBody(context, item, BodyKind.OUTPUT, signal) : new Uint8Array();
  return { item: itemView(item, clock.now()), prompt, output };
}

async function openBody({ vault }: Context, item: Item, kind: BodyKind, signal: AbortSignal): Promise<Uint8Array> {
  const { requestId, leaseId, claimedBy: reviewer } = item;
  const leaseExpiresAt = timestampFromDate(item.leaseExpiresAt!);
  const lease = { requestId, kind, reviewer, leaseId, leaseExpiresAt };
  const options = { deadlineMs: vaultDeadlineMs, signal };
  return (await askNeighbour("the vault", () => vault.openBody(lease, options))).body;
}
