import { AttestationError } from "@sallyport/attestation";
import { SallyportError } from "@sallyport/client";
import { asAppError, type ErrorCode } from "@sallyport/runtime/client";
import { TlogError } from "@sallyport/tlog";
import { CommanderError } from "commander";

/** Documented in README.md; scripts rely on them. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  blocked: 3,
  held: 4,
  denied: 5,
  unavailable: 6,
  unverified: 7,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The command was used wrongly. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const ofErrors: Partial<Record<ErrorCode, ExitCode>> = {
  INVALID_ARGUMENT: exitCodes.usage,
  BLOCKED: exitCodes.blocked,
  HELD: exitCodes.held,
  UNAUTHENTICATED: exitCodes.denied,
  PERMISSION_DENIED: exitCodes.denied,
  UNAVAILABLE: exitCodes.unavailable,
  DEADLINE_EXCEEDED: exitCodes.unavailable,
};

export interface Failure {
  exitCode: ExitCode;
  code: string;
  reason: string;
  message: string;
}

/** What to tell about anything that was thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) {
    const exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return { exitCode, code: "USAGE", reason: "USAGE", message: error.message };
  }
  if (error instanceof UsageError) {
    return { exitCode: exitCodes.usage, code: "USAGE", reason: "USAGE", message: error.message };
  }
  if (error instanceof AttestationError || error instanceof TlogError) {
    const message = `not verified: ${error.message}`;
    return { exitCode: exitCodes.unverified, code: "UNVERIFIED", reason: error.code.toUpperCase(), message };
  }
  if (error instanceof SallyportError) {
    const { code, reason, message } = error;
    if (code !== "UNVERIFIED") return { exitCode: ofErrors[code] ?? exitCodes.failed, code, reason, message };
    return { exitCode: exitCodes.unverified, code, reason, message: `not verified: ${message}` };
  }
  const { code, reason, message, cause } = asAppError(error);
  // A fault on this machine (a file, the disk): its own message helps, unlike that of a service's internals.
  if (code === "INTERNAL" && cause === error && error instanceof Error) {
    return { exitCode: exitCodes.failed, code, reason, message: error.message };
  }
  return { exitCode: ofErrors[code] ?? exitCodes.failed, code, reason, message };
}
