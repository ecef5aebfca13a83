/**
 * What a caller may do to a call before and beside its handler: bounds that grpc-js has no options for, and its own
 * refusals in our form. Needs two fields that grpc-js (1.14) keeps private; its version is pinned, and tests hold us to it.
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import {
  logVerbosity,
  type ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import { AppError } from "../errors.ts";
import { detailsKey, encodeStatus } from "./status.ts";

/** Its log is no JSON, and writes out whole what it cannot read of a caller's metadata: tokens too. */
setLogVerbosity(logVerbosity.NONE);

export interface IntakeLimits {
  /** For a request of one message to be there whole. */
  readonly arrivalMs: number;
  /** A caller that takes nothing of what is to be sent for so long is let go. */
  readonly slowReaderMs: number;
}

type ServerCall = Parameters<ServerInterceptor>[1];
type Status = Parameters<ServerCall["sendStatus"]>[0];

interface BareCall extends ServerCall {
  readonly stream: ServerHttp2Stream;
  incomingEncoding: string;
}

const defaults: IntakeLimits = { arrivalMs: 30_000, slowReaderMs: 30_000 };
/** Names and values of one call's headers; tokens have up to 16 KiB. */
const maxMetadataBytes = 32 * 1024;
const maxMetadataEntries = 64;
const handshakeTimeoutMs = 10_000;

/**
 * grpc-js makes the HTTP/2 server and has no options for these; what credentials ask for is passed on to it. Beside them
 * stand Node's own: 1,000 invalid frames, 1,000 resets at once and 33 a second after, 10 unanswered pings.
 */
export function withConnectionLimits(credentials: ServerCredentials, maxConcurrentStreams: number): ServerCredentials {
  const options = {
    ...credentials._getConstructorOptions(),
    settings: { maxConcurrentStreams, maxHeaderListSize: maxMetadataBytes },
    maxHeaderListPairs: maxMetadataEntries,
    handshakeTimeout: handshakeTimeoutMs,
  };
  credentials._getConstructorOptions = () => options;
  return credentials;
}

/** Takes calls in within `limits`. */
export function intake({ arrivalMs, slowReaderMs }: IntakeLimits = defaults): ServerInterceptor {
  return ({ requestStream }, bare) => {
    const call = bare as BareCall;
    const { stream } = call;
    answerOnce(call);
    identifyOnce(call);
    // Unpacking costs a thousand times what packing does, and each of a stream's messages is unpacked at once.
    call.incomingEncoding = unsupported;
    endWithAnswer(stream);
    letGoOfSlowReader(stream, slowReaderMs);
    if (!requestStream) {
      const late = () => call.sendStatus(encodeStatus(tooSlow()));
      const timer = setTimeout(late, arrivalMs).unref();
      for (const over of ["end", "close"]) stream.once(over, () => clearTimeout(timer));
    }
    return new ServerInterceptingCall(call);
  };
}

const unsupported = "any";

type Identity = ReturnType<ServerCall["getAuthContext"]>;
const identities = new WeakMap<object, Identity>();

/** Who calls is who made the connection: its certificate is parsed once, not with every call. */
function identifyOnce(call: BareCall): void {
  const { session } = call.stream;
  const identify = call.getAuthContext.bind(call);
  call.getAuthContext = () => {
    const known = session && identities.get(session);
    if (known) return known;
    const identity = identify();
    if (session) identities.set(session, identity);
    return identity;
  };
}

/**
 * In our form; and nothing after the status. At a call's deadline grpc-js ends the stream, then goes on to write what waits
 * of a handler's messages: a write after the end, upon which it would never close.
 */
function answerOnce(call: BareCall): void {
  const [sendStatus, sendMessage] = [call.sendStatus.bind(call), call.sendMessage.bind(call)];
  let answered = false;
  call.sendStatus = (given: Status) => {
    answered = true;
    sendStatus(inOurForm(given));
  };
  call.sendMessage = (message, callback) => {
    if (answered) callback();
    else sendMessage(message, callback);
  };
  call.stream.once("error", () => call.stream.close(constants.NGHTTP2_INTERNAL_ERROR));
}

/** A caller that does not end its side would keep the stream, and its place, although it has its answer. */
function endWithAnswer(stream: ServerHttp2Stream): void {
  stream.once("finish", () => {
    if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}

/** Silence is no fault, nor is a caller that waits; bytes that nobody takes are. */
function letGoOfSlowReader(stream: ServerHttp2Stream, slowReaderMs: number): void {
  const look = () => {
    if (stream.writableLength > 0) stream.close(constants.NGHTTP2_CANCEL);
    else if (!stream.closed) stream.setTimeout(slowReaderMs, look);
  };
  stream.setTimeout(slowReaderMs, look);
}

function tooSlow(): AppError {
  const message = "the request did not come whole in time; send it again";
  return new AppError("DEADLINE_EXCEEDED", message, { reason: "REQUEST_TIMEOUT" });
}

/** What grpc-js refuses by itself: bytes, framing and headers of the caller's, so that INTERNAL is not the word for it. */
function inOurForm(given: Status): Status {
  if (given.code === status.OK || given.metadata?.get(detailsKey).length) return given;
  const own = ownRefusals[given.code ?? status.UNKNOWN];
  return own ? encodeStatus(own) : given;
}

const malformed = new AppError(
  "INVALID_ARGUMENT",
  "the call is not well formed: one message, framed as gRPC has it, not compressed, with a valid grpc-timeout",
  { reason: "MESSAGE_MALFORMED" },
);
const tooLarge = new AppError("RESOURCE_EXHAUSTED", "the message is too large", { reason: "MESSAGE_TOO_LARGE" });

const ownRefusals: Readonly<Record<number, AppError>> = {
  [status.INTERNAL]: malformed,
  [status.UNIMPLEMENTED]: malformed,
  [status.RESOURCE_EXHAUSTED]: tooLarge,
  [status.DEADLINE_EXCEEDED]: new AppError("DEADLINE_EXCEEDED", "the call took longer than its deadline"),
};
