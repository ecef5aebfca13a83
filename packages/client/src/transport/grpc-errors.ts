/** gRPC status with google.rpc.Status in `grpc-status-details-bin` (AIP-193) → SallyportError. */
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceError } from "@grpc/grpc-js";
import { ErrorInfoSchema, RetryInfoSchema } from "@sallyport/proto/google/rpc/error_details";
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
  const info = details.map((any) => unpacked(any, ErrorInfoSchema)).find((found) => found?.domain === "sallyport");
  if (info) {
    const delay = details.map((any) => unpacked(any, RetryInfoSchema)).find((found) => found !== undefined)?.retryDelay;
    const retryAfterMs = delay && Math.max(0, Math.ceil(durationMs(delay)));
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

/** Undefined when it is another message, or a broken one. */
function unpacked<D extends DescMessage>(any: Any, schema: D): MessageShape<D> | undefined {
  try {
    return anyUnpack(any, schema);
  } catch {
    return undefined;
  }
}
