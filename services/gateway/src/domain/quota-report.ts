/** What callers are told about their quotas: fields of draft-ietf-httpapi-ratelimit-headers-11, OpenAI's names, refusals. */
import { type QuotaLimit, quotaMeters } from "@sallyport/policy";
import { AppError } from "@sallyport/runtime";
import { type Counted, type Take, wants } from "./quota.ts";

export interface QuotaReport {
  /** The database's clock, by which windows begin and end. */
  readonly now: Date;
  readonly counted: readonly Counted[];
}

/** Over a limit. `fields`: HTTP response fields that say which. */
export class QuotaError extends AppError {
  readonly fields: Readonly<Record<string, string>>;

  constructor(message: string, fields: Record<string, string>, options: ConstructorParameters<typeof AppError>[2]) {
    super("RESOURCE_EXHAUSTED", message, options);
    this.fields = fields;
  }
}

const windowSeconds = { minute: 60, day: 86_400 } as const;
/** How soon a place may come free: nobody knows, so not at once. */
const concurrencyRetryMs = 1_000;

interface Item extends QuotaLimit {
  readonly left: number;
  /** Until its window ends; undefined for what is at work now. */
  readonly resetSeconds: number | undefined;
}

/** Response fields after a call that was let in. */
export function quotaFields({ now, counted }: QuotaReport, take: Take): Record<string, string> {
  const items = counted
    .flatMap(({ limits, used }) => limits.map((limit) => itemOf(limit, used[quotaMeters.indexOf(limit.meter)]!, now)))
    .filter(({ meter }) => meter.unit !== "images" || take.images > 0);
  if (items.length === 0) return {};
  return { ...structured(items), ...openAiFields(items) };
}

/** Why a call is refused, and what to do. */
export function quotaRefusal(limit: QuotaLimit, now: Date, take: Take): QuotaError {
  const { name, meter } = limit;
  const item = { ...itemOf(limit, limit.limit, now), left: 0 };
  const retryAfterMs = item.resetSeconds === undefined ? concurrencyRetryMs : item.resetSeconds * 1_000;
  const said = `${limit.limit} ${meter.unit}${meter.window ? ` a ${meter.window}` : ""} (${name})`;
  const details = { limit: name, quota: String(limit.limit), unit: meter.unit, window: meter.window ?? "" };
  const fields = { ...structured([item]), ...openAiFields([item]) };
  if (wants(meter, take) > limit.limit) {
    const message = `this request alone asks for ${wants(meter, take)}, and the limit is ${said}; ask for less`;
    return new QuotaError(
      message,
      { ...fields, "x-should-retry": "false" },
      { reason: reasons[meter.window ?? "now"], details: { ...details, ...notAgain } },
    );
  }
  const message = `the limit of ${said} is reached; try again in ${retryAfterMs / 1_000} s`;
  // OpenAI's clients would try again within seconds, and again.
  const retry: Record<string, string> = meter.window === "day" ? { "x-should-retry": "false" } : {};
  return new QuotaError(
    message,
    { ...fields, ...retry },
    {
      reason: reasons[meter.window ?? "now"],
      details: meter.window === "day" ? { ...details, ...notAgain } : details,
      retryAfterMs,
    },
  );
}

/** For programs, over gRPC too, which has no such header. */
const notAgain = { shouldRetry: "false" } as const;
const reasons = { minute: "RATE_LIMITED", day: "QUOTA_EXHAUSTED", now: "CONCURRENCY_LIMIT" } as const;

function itemOf(limit: QuotaLimit, used: number, now: Date): Item {
  const seconds = limit.meter.window && windowSeconds[limit.meter.window];
  // Windows are whole minutes and days of UTC.
  const resetSeconds = seconds && seconds - Math.floor((now.getTime() / 1_000) % seconds);
  return { ...limit, left: Math.max(0, limit.limit - used), resetSeconds };
}

/** Names are lower-case words (policy sees to it), so that they need no escapes in a structured string (RFC 9651). */
function structured(items: readonly Item[]): Record<string, string> {
  return {
    "ratelimit-policy": items.map(({ name, limit, meter }) => `"${name}";q=${limit}${unitOf(meter)}`).join(", "),
    ratelimit: items
      .map(
        ({ name, left, resetSeconds }) =>
          `"${name}";r=${left}${resetSeconds === undefined ? "" : `;t=${resetSeconds}`}`,
      )
      .join(", "),
  };
}

/** The draft's registry has no unit for tokens and images yet. */
function unitOf({ unit, window }: QuotaLimit["meter"]): string {
  if (!window) return ';qu="concurrent-requests"';
  return `${unit === "requests" ? "" : `;qu="${unit}"`};w=${windowSeconds[window]}`;
}

/** OpenAI has one limit a unit: of several, the one with the least left. */
function openAiFields(items: readonly Item[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const unit of ["requests", "tokens"] as const) {
    const [tightest] = items.filter(({ meter }) => meter.unit === unit).sort((a, b) => a.left - b.left);
    if (tightest?.resetSeconds === undefined) continue;
    fields[`x-ratelimit-limit-${unit}`] = String(tightest.limit);
    fields[`x-ratelimit-remaining-${unit}`] = String(tightest.left);
    fields[`x-ratelimit-reset-${unit}`] = duration(tightest.resetSeconds);
  }
  return fields;
}

/** As OpenAI writes it: `6m0s`. */
function duration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  return `${hours > 0 ? `${hours}h` : ""}${seconds >= 60 ? `${minutes}m` : ""}${seconds % 60}s`;
}
