import type { ListItemsRequest } from "@sallyport/proto/sallyport/governance/v1/review";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { authorise, mayAcrossTenants } from "../core/authorise.ts";
import { itemView } from "../core/views.ts";
import { listPage, type Page } from "../db/items.ts";
import type { Item } from "../domain/item.ts";

const defaultSize = 50;
const maxSize = 200;

/** The queue of the caller's own tenant, oldest first; for staff of the platform that of all. */
export async function listItems(context: Context, caller: CallerIdentity, request: ListItemsRequest) {
  authorise(context, caller, "review.list", { tenant: caller.tenant });
  const tenant = mayAcrossTenants(context, caller, "review.list") ? undefined : caller.tenant;
  const { includeClosed, pageToken } = request;
  const size = request.pageSize || defaultSize;
  if (size > maxSize) throw invalid("page_size", `is 1 to ${maxSize}`);
  const now = context.clock.now();
  const after = pageToken === "" ? undefined : readToken(pageToken);
  const items = await listPage(context.db, { tenant, includeClosed, now, size: size + 1, after });
  const page = items.slice(0, size);
  const nextPageToken = items.length > size ? writeToken(page.at(-1)!) : "";
  return { items: page.map((item) => itemView(item, now)), nextPageToken };
}

function writeToken({ heldAt, requestId, stage }: Item): string {
  return Buffer.from(JSON.stringify([heldAt.toISOString(), requestId, stage])).toString("base64url");
}

function readToken(token: string): Page["after"] {
  try {
    const [heldAt, requestId, stage] = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    const time = new Date(heldAt);
    if (typeof requestId === "string" && typeof stage === "string" && Number.isFinite(time.getTime())) {
      return { heldAt: time, requestId, stage };
    }
  } catch {
    // Refused below, as every other token that was not made here.
  }
  throw invalid("page_token", "is not one of ours");
}

function invalid(field: string, problem: string): AppError {
  return new AppError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "INVALID_FIELD", details: { field } });
}
