/** gRPC status with google.rpc.Status in `grpc-status-details-bin` (AIP-193) → SallyportError. */
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type Any, anyUnpack, DurationSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceError } from "@grpc/grpc-js";
import { type ErrorInfo, ErrorInfoSchema } from "@sallyport/proto/google/rpc/error_details";
import { StatusSchema } from "@sallyport/proto/google/rpc/status";
import { type ErrorCode, SallyportError, unreachable } from "../errors.ts";
import { fromDetails } from "./error-details.ts";

/** google.rpc.Code → code, where no ErrorInfo says more. */
const codes: Readonly<Record<number, ErrorCode>> = {
  1: "CANCELLED",
  3: "INVALID_ARGUMENT",
  4: "DEADLINE_EXCEEDED",
  5: "NOT_FOUND",
  6: "ALREADY_EXISTS",
  7: "PERMISSION_DENIED",
  8: "RESOURCE_EXHAUSTED",
  9: "FAILED_PRECONDITION",
  14: "UNAVAILABLE",
  16: "UNAUTHENTICATED",
};

export function fromServiceError(error: ServiceError): SallyportError {
  const details = detailsOf(error);
  const info = details.map(infoOf).find((found) => found?.domain === "sallyport");
  if (info) {
    const retryAfterMs = details.map(retryDelayMs).find((delay) => delay !== undefined);
    return fromDetails({ code: info.metadata.code, reason: info.reason, message: error.details }, info.metadata, {
      retryAfterMs,
      cause: error,
    });
  }
  const code = codes[error.code] ?? "INTERNAL";
  return code === "UNAVAILABLE" ? unreachable(error) : new SallyportError(code, "the call failed", { cause: error });
}

function detailsOf({ metadata }: ServiceError): Any[] {
  const [bytes] = metadata?.get("grpc-status-details-bin") ?? [];
  if (!Buffer.isBuffer(bytes)) return [];
  try {
    return fromBinary(StatusSchema, bytes).details;
  } catch {
    // A broken trailer must not hide the failure that it came with.
    return [];
  }
}

function infoOf(any: Any): ErrorInfo | undefined {
  try {
    return anyUnpack(any, ErrorInfoSchema);
  } catch {
    return undefined;
  }
}

/** google.rpc.RetryInfo: field 1 is a google.protobuf.Duration. */
function retryDelayMs({ typeUrl, value }: Any): number | undefined {
  if (!typeUrl.endsWith("/google.rpc.RetryInfo")) return undefined;
  try {
    const reader = new BinaryReader(value);
    const [field] = reader.tag();
    if (field !== 1) return undefined;
    const { seconds, nanos } = fromBinary(DurationSchema, reader.bytes());
    return Math.max(0, Number(seconds) * 1_000 + Math.ceil(nanos / 1e6));
  } catch {
    return undefined;
  }
}
