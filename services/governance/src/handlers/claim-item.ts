import type { ClaimItemRequest } from "@sallyport/proto/sallyport/governance/v1/review";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants, personOf } from "../core/authorise.ts";
import { itemView } from "../core/views.ts";
import { findItem, leaseItem } from "../db/items.ts";
import { isMaker } from "../db/makers.ts";
import { checkClaim, type Item } from "../domain/item.ts";
import { auditEvent } from "../events.ts";

const leaseIdBytes = 16;

/** Takes an item for the time of a lease; its holder may take it again, with a new lease. */
export async function claimItem(context: Context, caller: CallerIdentity, { requestId }: ClaimItemRequest) {
  const now = context.clock.now();
  const item = await itemOf(context, caller, requestId, "review.claim");
  const holder = personOf(caller);
  checkClaim(item, holder, now);
  const leaseId = Buffer.from(context.ids.bytes(leaseIdBytes)).toString("hex");
  const expiresAt = new Date(Math.min(now.getTime() + context.config.leaseMs, item.expiresAt.getTime()));
  const leased = await context.outbox.commit(async (tx) => {
    const value = await leaseItem(tx, item, { id: leaseId, holder, claimedBy: caller.subject, now, expiresAt });
    if (!value) throw new AppError("FAILED_PRECONDITION", "somebody else took this item", { reason: "ITEM_CLAIMED" });
    const detail = { lease: leaseId, leaseExpiresAt: expiresAt.toISOString() };
    return { value, messages: [auditEvent({ event: "review.claimed", actor: caller, item: value, detail })] };
  });
  return { item: itemView(leased, now), leaseId };
}

/**
 * The item, if the caller may do `action` with it. Items of other tenants are there only for staff of the platform. What a
 * service account asked is as much whoever's who made its credential: four eyes are not two that use another name.
 */
export async function itemOf(
  context: Context,
  caller: CallerIdentity,
  requestId: string,
  action: string,
): Promise<Item> {
  authorise(context, caller, action, { tenant: caller.tenant });
  const item = await findItem(context.db, requestId);
  if (item && (item.tenant === caller.tenant || mayAcrossTenants(context, caller, action))) {
    const made = await isMaker(context.db, item, personOf(caller));
    const ownerSubject = made ? caller.subject : item.subject;
    authorise(context, caller, action, { tenant: item.tenant, ownerSubject });
    return item;
  }
  throw new AppError("NOT_FOUND", "there is no such item in the queue", {
    reason: "ITEM_NOT_FOUND",
    details: { requestId },
  });
}
