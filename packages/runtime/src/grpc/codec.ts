import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { AppError } from "../errors.ts";

/** grpc-js moves bytes only: decoding and encoding happen in the call, where their failure is an answer and no crash. */
export const passBytes = (bytes: Buffer): Buffer => bytes;

/** Throws `code` with reason MESSAGE_MALFORMED. */
export function decodeMessage<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: "INVALID_ARGUMENT" | "INTERNAL",
): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    const message = `the bytes are not a valid ${schema.typeName}`;
    throw new AppError(code, message, { reason: "MESSAGE_MALFORMED", cause });
  }
}

/** Throws RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE) above `maxBytes`; grpc-js would stall a stream instead. */
export function encodeMessage<D extends DescMessage>(schema: D, init: MessageInitShape<D>, maxBytes: number): Buffer {
  const bytes = toBinary(schema, create(schema, init));
  if (bytes.length > maxBytes) {
    const message = `a ${schema.typeName} may have at most ${maxBytes} bytes`;
    throw new AppError("RESOURCE_EXHAUSTED", message, { reason: "MESSAGE_TOO_LARGE" });
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
