/** Errors in OpenAI's shape, with our public code; what they say is for the caller. */
import { AppError, asAppError, toHttpStatus } from "@sallyport/runtime";
import type { FastifyError } from "fastify";
import { QuotaError } from "../../domain/quota-report.ts";

const types: Readonly<Partial<Record<AppError["code"], string>>> = {
  INVALID_ARGUMENT: "invalid_request_error",
  NOT_FOUND: "invalid_request_error",
  ALREADY_EXISTS: "invalid_request_error",
  FAILED_PRECONDITION: "invalid_request_error",
  UNAUTHENTICATED: "authentication_error",
  PERMISSION_DENIED: "permission_error",
  RESOURCE_EXHAUSTED: "rate_limit_error",
  BLOCKED: "content_policy_violation",
  HELD: "held_for_review",
};

/** Where HTTP has a status of its own for what is wrong with a request. */
const statuses: Readonly<Record<string, number>> = {
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  BODY_TOO_SLOW: 408,
  URL_TOO_LONG: 414,
  EXPECTATION_FAILED: 417,
  HEADERS_TOO_LARGE: 431,
};

export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    error: {
      message: string;
      type: string;
      code: string;
      param: string | null;
      sallyport: Readonly<Record<string, string>>;
    };
  };
}

export function toHttpError(thrown: unknown): HttpError {
  const error = fromFastify(thrown) ?? asAppError(thrown);
  const { field, ...details } = error.details;
  // To the millisecond, as gRPC's RetryInfo has it; the header has whole seconds.
  const retry: Record<string, string> =
    error.retryAfterMs === undefined ? {} : { retryAfterMs: String(error.retryAfterMs) };
  // OpenAI's clients repeat a 409 by themselves: a held request must not be sent again.
  const status = error.code === "HELD" ? 403 : (statuses[error.reason] ?? toHttpStatus(error));
  const code = openAiCode(error);
  return {
    status,
    headers: headersOf(error, status),
    body: {
      error: {
        message: error.message,
        type: types[error.code] ?? "api_error",
        code,
        param: field ?? null,
        // Our code: HTTP's status and OpenAI's type tell fewer apart.
        sallyport: { ...details, ...retry, code: error.code },
      },
    },
  };
}

/** When to come back, and of which quota too much was asked. */
function headersOf(error: AppError, status: number): Record<string, string> {
  // A pause lasts until people end it: OpenAI's SDKs, which repeat a 503 by themselves, heed this.
  if (error.reason === "PAUSED") return { "x-should-retry": "false" };
  const fields = error instanceof QuotaError ? error.fields : {};
  const seconds = error.retryAfterMs === undefined ? undefined : Math.ceil(error.retryAfterMs / 1_000);
  if (seconds !== undefined) return { ...fields, "retry-after": String(seconds) };
  return status === 503 ? { "retry-after": "1" } : { ...fields };
}

function openAiCode({ code, reason }: AppError): string {
  if (reason === "MODEL_NOT_FOUND") return "model_not_found";
  return code === "BLOCKED" || code === "HELD" ? reason : reason.toLowerCase();
}

/** What fastify itself refuses: malformed JSON, another content type, a path that cannot be decoded. */
function fromFastify(thrown: unknown): AppError | undefined {
  const { statusCode, code } = (thrown ?? {}) as Partial<FastifyError>;
  if (thrown instanceof AppError || statusCode === undefined || statusCode >= 500) return undefined;
  const [text, reason] = said[code ?? ""] ?? ["the body is not valid JSON", "BODY_MALFORMED"];
  return new AppError("INVALID_ARGUMENT", text, { reason });
}

const said: Readonly<Record<string, readonly [string, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["send the body as application/json", "UNSUPPORTED_MEDIA_TYPE"],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["the body is empty; send a JSON object", "BODY_EMPTY"],
  FST_ERR_MAX_PARAM_LENGTH: ["a part of the path is too long", "URL_TOO_LONG"],
  FST_ERR_BAD_URL: ["the path is not a well-formed URL path", "URL_MALFORMED"],
};
