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
  return new SallyportError(isCode(code) ? code : "INTERNAL", message, {
    reason,
    requestId: text("requestId"),
    leafHash: text("leafHash"),
    field: text("field"),
    ...facts,
  });
}

export function isCode(code: unknown): code is ErrorCode {
  return code !== "UNVERIFIED" && (errorCodes as readonly unknown[]).includes(code);
}
