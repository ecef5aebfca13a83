/** Reading what callers send: each throws INVALID_ARGUMENT (INVALID_FIELD) naming the field. */
import { AppError } from "@sallyport/runtime";

const daySeconds = 24 * 3_600;

export function must(holds: boolean, field: string, problem: string): asserts holds {
  if (holds) return;
  throw new AppError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "INVALID_FIELD", details: { field } });
}

/** Names go into records, logs and lists: nothing that could disguise them, as in access tokens. */
export function readName(value: string, field: string, maxCharacters: number): string {
  const fits = value.length > 0 && value.length <= maxCharacters && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value);
  must(fits, field, `is a name of 1 to ${maxCharacters} printable characters`);
  return value;
}

export function readTenant(value: string, field = "tenant"): string {
  must(/^[a-z0-9][a-z0-9-]{0,63}$/.test(value), field, "is 1 to 64 of a-z, 0-9 and -, not beginning with -");
  return value;
}

/** Seconds from now, at most `maxDays`; undefined for 0. */
export function readExpiry(
  seconds: bigint,
  now: Date,
  maxDays: number,
  field = "expires_in_seconds",
): Date | undefined {
  must(seconds <= BigInt(maxDays * daySeconds), field, `is at most ${maxDays} days`);
  return seconds === 0n ? undefined : new Date(now.getTime() + Number(seconds) * 1_000);
}
