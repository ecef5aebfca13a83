/**
 * JSON lines to stdout: `{time, level, service, msg, requestId?, traceId?, …}`. Written synchronously, so that the last
 * line before a crash is there. Bodies, tokens and keys never belong into a line; what slips in by name is removed.
 */
import { type DestinationStream, pino } from "pino";
import { logFields } from "./telemetry/scope.ts";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];
export type Logger = pino.Logger;

const maxCauses = 5;
const secretFields = [
  "authorization",
  "bearer",
  "content",
  "cookie",
  "jwe",
  "key",
  "nkeySeed",
  "output",
  "password",
  "payload",
  "privateKey",
  "prompt",
  "salt",
  "secret",
  "secrets",
  "seed",
  "text",
  "token",
];

export function createLogger(service: string, level: LogLevel, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    mixin: logFields,
    redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`]), censor: "[redacted]" },
  };
  return destination ? pino(options, destination) : pino(options);
}

/** Name, code, reason, message, stack and causes of an error; no other property, since libraries put anything there. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  return {
    type: error.name,
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(typeof reason === "string" ? { reason } : {}),
    message: error.message,
    stack: error.stack,
    ...(error.cause !== undefined && depth < maxCauses ? { cause: describeError(error.cause, depth + 1) } : {}),
  };
}
