/** GetRequest, CancelRequest, GetReceipt and ListModels, for gRPC and HTTP alike: a caller's view of its own requests. */
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type GetRequestResponseSchema,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, type Caller, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { cancel } from "../core/cancel.ts";
import { readOutput } from "../core/output.ts";
import { authorise, listModelsFor } from "../core/permissions.ts";
import { aboutOf, refuseOff } from "../core/switched-off.ts";
import { findRequest, type RequestRow } from "../db/ledger.ts";
import { checkRequestId } from "../domain/content.ts";
import { isTerminal } from "../domain/request-state.ts";
import { outcomeOf, timestamp } from "../domain/views.ts";

/** Longer than a checkpoint takes, should the log be busy. */
const receiptDeadlineMs = 10_000;

export async function getRequest(
  context: Context,
  identity: Caller,
  requestId: string,
): Promise<MessageInitShape<typeof GetRequestResponseSchema>> {
  refuseOff(context, identity);
  const row = await ownRequest(context, identity, requestId);
  const released = row.state === "released" ? await readOutput(context, row) : undefined;
  refuseOff(context, aboutOf(row));
  return {
    outcome: outcomeOf(row),
    model: row.model,
    modelDigest: row.modelDigest,
    createdAt: timestampFromDate(row.createdAt),
    endedAt: timestamp(row.endedAt),
    holdExpiresAt: row.state === "held" ? timestamp(row.holdExpiresAt) : undefined,
    output: released?.contents.map((bytes) => fromBinary(WindowContentSchema, bytes)) ?? [],
    ticket: released?.ticket ? new TextEncoder().encode(released.ticket) : new Uint8Array(),
  };
}

export async function cancelRequest(context: Context, identity: Caller, requestId: string) {
  refuseOff(context, identity);
  const row = await ownRequest(context, identity, requestId, "request.cancel");
  return { outcome: outcomeOf((await cancel(context, row.id, "CANCELLED")) ?? row) };
}

/** Also of what is switched off: what is proven stays proven. */
export async function getReceipt(context: Context, identity: CallerIdentity, requestId: string, signal?: AbortSignal) {
  const row = await ownRequest(context, identity, requestId);
  if (!isTerminal(row.state)) {
    throw new AppError("FAILED_PRECONDITION", "the request has not ended; its receipt comes with its outcome", {
      reason: "NOT_ENDED",
    });
  }
  const { record, proof } = await context.receipts.getReceipt(
    { requestId: row.id },
    { deadlineMs: receiptDeadlineMs, waitForReady: true, ...(signal && { signal }) },
  );
  return { record, proof };
}

export function models(context: Context, identity: Caller) {
  refuseOff(context, identity);
  return listModelsFor(context, identity).map((model) => ({
    name: model.name,
    version: model.version,
    digest: model.digest,
    engine: model.engine,
    contextTokens: model.contextTokens,
    tier: model.tier,
    approvedAt: timestampFromDate(new Date(model.approvedAt)),
  }));
}

/** A subject names a person at one issuer only. */
function isOwner(row: RequestRow, { tenant, issuer, subject }: CallerIdentity): boolean {
  return row.tenant === tenant && row.issuer === issuer && row.subject === subject;
}

/** Somebody else's request is not told apart from one that never was. */
async function ownRequest(
  context: Context,
  identity: CallerIdentity,
  requestId: string,
  action: "request.read" | "request.cancel" = "request.read",
): Promise<RequestRow> {
  checkRequestId(requestId);
  const row = await context.db.transaction((tx) => findRequest(tx, requestId));
  if (!row || !isOwner(row, identity)) {
    throw new AppError("NOT_FOUND", "you have no request of that id", { reason: "REQUEST_NOT_FOUND" });
  }
  // Not bound to a model: what came of a request stays readable when its model is withdrawn.
  authorise(context, identity, action, { tenant: row.tenant, ownerSubject: row.subject });
  return row;
}
