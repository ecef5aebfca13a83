import { timestampMs } from "@bufbuild/protobuf/wkt";
import { BodyKind, type OpenBodyRequest } from "@sallyport/proto/sallyport/audit/v1/audit";
import { AppError, asAppError, type Clock, type Db } from "@sallyport/runtime";
import type { Appender } from "../core/appender.ts";
import type { Vault } from "../core/vault.ts";
import { tenantOf } from "../db/read.ts";
import { countOpened } from "../metrics.ts";

/** Governance leases for ten minutes; a lease that claims much more is none. */
const maxLeaseMs = 30 * 60_000;
const idForm = /^[A-Za-z0-9_-]{1,64}$/;
const reviewerForm = /^[^\p{C}]{1,256}$/u;

export interface OpenBodyContext {
  readonly db: Db;
  readonly vault: Vault;
  readonly appender: Appender;
  readonly clock: Clock;
}

/** Returns a body only after the record of its opening is under a signed head: nobody reads unseen. */
export async function openBody({ db, vault, appender, clock }: OpenBodyContext, request: OpenBodyRequest) {
  const { requestId, reviewer, leaseId } = request;
  const kind = kindOf(request);
  const leaseExpiresAt = leaseEnd(request, clock.now());
  const body = await vault.open(db, requestId, kind).catch((error: unknown) => {
    countOpened(asAppError(error).reason);
    throw error;
  });
  const tenant = await tenantOf(db, requestId);
  const detail = { kind, lease: leaseId, leaseExpiresAt: leaseExpiresAt.toISOString() };
  await appender.submit({ kind: "own", facts: { event: "vault.opened", requestId, reviewer, tenant, detail } });
  countOpened("OK");
  return { body };
}

function kindOf({ kind, requestId, reviewer, leaseId }: OpenBodyRequest): "prompt" | "output" {
  if (!idForm.test(requestId)) throw new AppError("INVALID_ARGUMENT", "request_id is not an id");
  if (!idForm.test(leaseId)) throw new AppError("INVALID_ARGUMENT", "lease_id is not an id");
  if (!reviewerForm.test(reviewer)) throw new AppError("INVALID_ARGUMENT", "reviewer is missing or malformed");
  if (kind === BodyKind.PROMPT) return "prompt";
  if (kind === BodyKind.OUTPUT) return "output";
  throw new AppError("INVALID_ARGUMENT", "kind is prompt or output");
}

function leaseEnd({ leaseExpiresAt }: OpenBodyRequest, now: Date): Date {
  const leftMs = leaseExpiresAt === undefined ? Number.NaN : timestampMs(leaseExpiresAt) - now.getTime();
  if (!(leftMs > 0)) throw new AppError("FAILED_PRECONDITION", "the lease has run out", { reason: "LEASE_EXPIRED" });
  if (leftMs > maxLeaseMs)
    throw new AppError("INVALID_ARGUMENT", "the lease is too long", { reason: "LEASE_TOO_LONG" });
  return new Date(timestampMs(leaseExpiresAt!));
}
