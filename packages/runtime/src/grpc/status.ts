/** AppError ↔ gRPC status with google.rpc.Status, ErrorInfo and RetryInfo in `grpc-status-details-bin` (AIP-193). */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, anyUnpack, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { ErrorInfoSchema, RetryInfoSchema } from "@sallyport/proto/google/rpc/error_details";
import { StatusSchema } from "@sallyport/proto/google/rpc/status";
import { AppError, codeOfGrpcStatus, type ErrorCode, isErrorCode, toGrpcStatus } from "../errors.ts";

export const errorDomain = "sallyport";
export const detailsKey = "grpc-status-details-bin";
/** Trailers share HTTP/2's header limit: a long message would cost the caller the whole status. */
const maxMessageLength = 1_000;

export function encodeStatus(error: unknown): StatusObject {
  const { code, message: fullMessage, reason, details, retryAfterMs } = toGrpcStatus(error);
  // grpc-js percent-encodes it with encodeURI, which throws on half a surrogate pair.
  const message = fullMessage.slice(0, maxMessageLength).toWellFormed();
  const info = create(ErrorInfoSchema, { reason, domain: errorDomain, metadata: details });
  const status = create(StatusSchema, { code, message, details: [anyPack(ErrorInfoSchema, info)] });
  if (retryAfterMs !== undefined) {
    const retryDelay = durationFromMs(retryAfterMs);
    status.details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(toBinary(StatusSchema, status)));
  return { code, details: message, metadata };
}

/**
 * What a client's call failed with. Without our ErrorInfo the code comes from the status number alone, and the text is
 * ours: that of grpc-js or of a proxy names hosts, ports and certificates, and an error may be passed on to a caller.
 */
export function decodeStatus(error: ServiceError): AppError {
  const { info, retryAfterMs } = ownDetails(error.metadata);
  const { code: innerCode, ...details } = info?.metadata ?? {};
  const code = isErrorCode(innerCode) ? innerCode : codeOfGrpcStatus(error.code);
  const message = (info && error.details) || foreignMessages[code] || "the call failed";
  return new AppError(code, message, { reason: info?.reason || code, details, retryAfterMs, cause: error });
}

const foreignMessages: Readonly<Partial<Record<ErrorCode, string>>> = {
  UNAVAILABLE: "a part of the platform cannot be reached; try again",
  DEADLINE_EXCEEDED: "it took too long; try again",
  CANCELLED: "it was cancelled",
  RESOURCE_EXHAUSTED: "it is over a limit: send less, or try again later",
};

/** Our ErrorInfo, and the RetryInfo beside it. */
function ownDetails(metadata: Metadata | undefined) {
  const [bytes] = metadata?.get(detailsKey) ?? [];
  if (!Buffer.isBuffer(bytes)) return {};
  try {
    const { details } = fromBinary(StatusSchema, bytes);
    const info = details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info?.domain === errorDomain);
    const retry = details.map((any) => anyUnpack(any, RetryInfoSchema)).find((retry) => retry?.retryDelay);
    return info ? { info, retryAfterMs: retry?.retryDelay && durationMs(retry.retryDelay) } : {};
  } catch {
    // A peer's broken trailer must not hide the failure that it came with.
    return {};
  }
}
