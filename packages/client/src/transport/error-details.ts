/** The part of an error that both transports carry alike: our code, the reason, and public details by name. */
import { type ErrorCode, type ErrorFacts, errorCodes, SallyportError } from "../errors.ts";

export interface Told {
  code: string | undefined;
  reason: string;
  message: string;
}

type Details = Readonly<Record<string, unknown>>;

/** A code that this client does not know counts as INTERNAL: it must not be repeated unawares. */
export function fromDetails({ code, reason, message }: Told, details: Details, facts: ErrorFacts): SallyportError {
  const text = (name: string) => (typeof details[name] === "string" ? (details[name] as string) : undefined);
  const known = isCode(code) ? code : "INTERNAL";
  // What passes by itself is worth another try after a moment, where nobody says after which.
  const soonMs = known === "UNAVAILABLE" && reason !== "PAUSED" ? 1_000 : undefined;
  const exactMs = text("retryAfterMs");
  return new SallyportError(known, message, {
    reason,
    requestId: text("requestId"),
    leafHash: text("leafHash"),
    field: text("field"),
    cause: facts.cause,
    retryAfterMs:
      exactMs !== undefined && /^\d{1,12}$/.test(exactMs) ? Number(exactMs) : (facts.retryAfterMs ?? soonMs),
    shouldRetry: text("shouldRetry") === "false" ? false : facts.shouldRetry,
  });
}

function isCode(code: unknown): code is ErrorCode {
  return code !== "UNVERIFIED" && (errorCodes as readonly unknown[]).includes(code);
}
