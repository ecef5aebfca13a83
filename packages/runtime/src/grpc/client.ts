import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  type ClientReadableStream,
  type CallOptions as GrpcCallOptions,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import type { ServiceName } from "@sallyport/proto/subjects";
import type { Address } from "../env.ts";
import { formatAddress } from "../env-values.ts";
import { AppError } from "../errors.ts";
import { currentTraceparent } from "../telemetry/spans.ts";
import type { ClientTls } from "../tls.ts";
import { decodeMessage, encodeMessage, passBytes } from "./codec.ts";
import { channelCredentials } from "./credentials.ts";
import { observeCall } from "./metrics.ts";
import { serviceOfCertificate, trustDomain } from "./peer.ts";
import { decodeStatus } from "./status.ts";
import type { CallOptions, Client } from "./types.ts";

const defaultMaxMessageBytes = 4 * 1024 * 1024;

export interface ClientOptions {
  address: Address;
  tls: ClientTls;
  /** Set: the server must be this service, by its SPIFFE id; its host name then does not matter. */
  serverName?: ServiceName;
  maxMessageBytes?: number;
}

type AnyRequest = MessageInitShape<DescMethod["input"]>;
type AnyResponse = MessageShape<DescMethod["output"]>;

/** Typed client of one service. It connects on its first call, and again at once when a neighbour has come back. */
export function createClient<S extends DescService>(service: S, options: ClientOptions): Client<S> {
  const maxBytes = options.maxMessageBytes ?? defaultMaxMessageBytes;
  const client = new GrpcClient(
    formatAddress(options.address),
    credentialsOf(options),
    channelOptions(options, maxBytes),
  );
  const methods = service.methods.map((method) => [method.localName, methodOf(client, method, maxBytes)]);
  return { ...Object.fromEntries(methods), close: () => client.close() } as Client<S>;
}

function methodOf(client: GrpcClient, method: DescMethod, maxBytes: number): unknown {
  const path = `/${method.parent.typeName}/${method.name}`;
  const encode = (request: AnyRequest) => encodeMessage(method.input, request, maxBytes);
  const decode = (bytes: Buffer) => decodeMessage(method.output, bytes, "INTERNAL");
  if (method.methodKind === "unary") {
    return (request: AnyRequest, options: CallOptions): Promise<AnyResponse> =>
      observeCall(path, async () => {
        const bytes = encode(request);
        const start = (settle: Settle) => {
          const [metadata, callOptions] = prepare(options);
          return client.makeUnaryRequest(path, passBytes, passBytes, bytes, metadata, callOptions, settle);
        };
        return decode(await untilReply(options, start));
      });
  }
  if (method.methodKind === "server_streaming") {
    return (request: AnyRequest, options: CallOptions) => readAll(client, path, encode(request), decode, options);
  }
  if (method.methodKind === "client_streaming") {
    return (requests: AsyncIterable<AnyRequest> | Iterable<AnyRequest>, options: CallOptions) =>
      observeCall(path, async () => decode(await sendAll(client, path, requests, encode, options)));
  }
  throw new TypeError(`${method.toString()}: no client for streams in both directions`);
}

type Settle = (error: ServiceError | null, bytes?: Buffer) => void;

/** Starts a call with one reply; aborting the signal cancels it. */
function untilReply(options: CallOptions, start: (settle: Settle) => { cancel(): void }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(cancelled());
    const call = start((error, bytes) => {
      options.signal?.removeEventListener("abort", cancel);
      if (error) reject(decodeStatus(error));
      else resolve(bytes!);
    });
    const cancel = () => call.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
  });
}

async function* readAll(
  client: GrpcClient,
  path: string,
  request: Buffer,
  decode: (bytes: Buffer) => AnyResponse,
  options: CallOptions,
): AsyncGenerator<AnyResponse> {
  if (options.signal?.aborted) throw cancelled();
  const [metadata, callOptions] = prepare(options);
  const call: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
    path,
    passBytes,
    passBytes,
    request,
    metadata,
    callOptions,
  );
  const cancel = () => call.cancel();
  options.signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const bytes of call) yield decode(bytes);
  } catch (error) {
    throw isServiceError(error) ? decodeStatus(error) : error;
  } finally {
    options.signal?.removeEventListener("abort", cancel);
    // The reader may have stopped early.
    call.on("error", () => {});
    call.cancel();
  }
}

async function sendAll(
  client: GrpcClient,
  path: string,
  requests: AsyncIterable<AnyRequest> | Iterable<AnyRequest>,
  encode: (request: AnyRequest) => Buffer,
  options: CallOptions,
): Promise<Buffer> {
  let failure: unknown;
  const reply = untilReply(options, (settle) => {
    const [metadata, callOptions] = prepare(options);
    let ended = false;
    const call = client.makeClientStreamRequest(path, passBytes, passBytes, metadata, callOptions, (error, bytes) => {
      ended = true;
      // Wakes a sender that waits for room.
      call.emit("drain");
      settle(error, bytes);
    });
    const send = async () => {
      for await (const request of requests) {
        if (ended) return;
        if (!call.write(encode(request))) await new Promise((resolve) => call.once("drain", resolve));
      }
      if (!ended) call.end();
    };
    send().catch((error) => {
      failure = error;
      call.cancel();
    });
    return call;
  });
  // A source that failed is the cause, not the cancellation that it led to.
  return reply.catch((error) => {
    throw failure ?? error;
  });
}

function prepare({ deadlineMs, bearer, traceparent, waitForReady }: CallOptions): [Metadata, GrpcCallOptions] {
  if (!(deadlineMs > 0)) throw new RangeError("deadlineMs must be positive");
  const metadata = new Metadata({ waitForReady: waitForReady ?? false });
  if (bearer !== undefined) metadata.set("authorization", `Bearer ${bearer}`);
  const trace = traceparent ?? currentTraceparent();
  if (trace !== undefined) metadata.set("traceparent", trace);
  return [metadata, { deadline: Date.now() + deadlineMs }];
}

function credentialsOf({ address, tls, serverName }: ClientOptions): ChannelCredentials {
  // Not the name that grpc-js passes: that is the one sent as SNI, see channelOptions.
  return channelCredentials(tls, (_sni, certificate) =>
    serverName ? checkService(serverName, certificate) : checkServerIdentity(address.host, certificate),
  );
}

function checkService(expected: ServiceName, certificate: PeerCertificate): Error | undefined {
  const found = serviceOfCertificate(certificate);
  return found === expected ? undefined : new Error(`the server is ${found ?? "unknown"}, not ${expected}`);
}

function channelOptions({ address, serverName }: ClientOptions, maxBytes: number) {
  return {
    "grpc.max_receive_message_length": maxBytes,
    "grpc.max_send_message_length": maxBytes,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.dns_min_time_between_resolutions_ms": 1_000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.service_config_disable_resolution": 1,
    // Neighbours are reached directly, whatever the environment says about proxies.
    "grpc.enable_http_proxy": 0,
    "grpc.enable_channelz": 0,
    // What is sent as SNI: an IP address must not be (RFC 6066, section 3).
    "grpc.ssl_target_name_override": serverName
      ? `${serverName}.${trustDomain}`
      : isIP(address.host)
        ? trustDomain
        : address.host,
  };
}

function cancelled(): AppError {
  return new AppError("CANCELLED", "it was cancelled");
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "details" in error;
}
