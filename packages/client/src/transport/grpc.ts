/** GenerationService over gRPC: every window with its ticket, as it is released. */
import { isIP } from "node:net";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { ChannelCredentials, Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { TextModality } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { SallyportError, stoppedBy } from "../errors.ts";
import { toModeration } from "../views.ts";
import { fromServiceError } from "./grpc-errors.ts";
import { type Call, type ChatEvent, checkServer, type Tls, type Transport } from "./transport.ts";

const maxMessageBytes = 4 * 1024 * 1024;
const { method } = GenerationService;
const passBytes = (bytes: Buffer): Buffer => bytes;

/** `host:port`. Connects at its first call; TLS always. */
export function grpcTransport(host: string, port: number, tls: Tls): Transport {
  const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const client = new Client(address, credentials(host, tls), {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_channelz": 0,
    // What is sent as SNI: an IP address must not be (RFC 6066, section 3).
    ...(isIP(host) && { "grpc.ssl_target_name_override": "localhost" }),
  });
  const ask = <M extends DescMethod>(rpc: M, request: MessageInitShape<M["input"]>, call: Call) =>
    unary(client, rpc, request, call);
  return {
    chat: ({ content, request, idempotencyKey }, call) =>
      chat(client, { content, idempotencyKey, clientReference: request.clientReference ?? "" }, call),
    getRequest: (requestId, call) => ask(method.getRequest, { requestId }, call),
    cancelRequest: async (requestId, call) => (await ask(method.cancelRequest, { requestId }, call)).outcome,
    getReceipt: (requestId, call) => ask(method.getReceipt, { requestId }, call),
    listModels: async (call) => {
      const { models } = await ask(method.listModels, {}, call);
      return models.map(({ name, version, digest, engine, contextTokens, tier, approvedAt }) => {
        const approved = approvedAt && timestampDate(approvedAt);
        return { name, version, digest, engine, contextTokens, tier, approvedAt: approved };
      });
    },
    moderate: async (texts, kind, call) => {
      const modality = kind === "image_prompt" ? TextModality.IMAGE_PROMPT : TextModality.TEXT;
      return toModeration(await ask(method.moderateTexts, { texts: [...texts], modality }, call));
    },
    close: () => client.close(),
  };
}

function credentials(host: string, { ca, cert, key, serverId }: Tls): ChannelCredentials {
  return ChannelCredentials.createSsl(ca ?? null, key ?? null, cert ?? null, {
    // By the host that was asked for, not by the name that was sent as SNI.
    checkServerIdentity: (_sni, certificate) => checkServer(host, serverId, certificate),
  });
}

async function* chat(
  client: Client,
  request: MessageInitShape<typeof method.chat.input>,
  call: Call,
): AsyncGenerator<ChatEvent> {
  for await (const { event } of serverStream(client, method.chat, request, call)) {
    if (event.case === "accepted") yield { accepted: event.value.requestId };
    else if (event.case === "window") yield { window: event.value };
    else if (event.case === "outcome") yield { outcome: event.value };
  }
}

function unary<M extends DescMethod>(
  client: Client,
  rpc: M,
  request: MessageInitShape<M["input"]>,
  call: Call,
): Promise<MessageShape<M["output"]>> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(failure(error, call));
    if (call.signal.aborted) return reject(stoppedBy(call.signal));
    const bytes = encode(rpc, request);
    const sent = client.makeUnaryRequest(
      pathOf(rpc),
      passBytes,
      passBytes,
      bytes,
      metadata(call),
      deadline(call),
      done,
    );
    const cancel = () => sent.cancel();
    call.signal.addEventListener("abort", cancel, { once: true });
    function done(error: ServiceError | null, reply?: Buffer) {
      call.signal.removeEventListener("abort", cancel);
      if (error) return fail(error);
      try {
        resolve(decode(rpc, reply!));
      } catch (cause) {
        fail(cause);
      }
    }
  });
}

async function* serverStream<M extends DescMethod>(
  client: Client,
  rpc: M,
  request: MessageInitShape<M["input"]>,
  call: Call,
): AsyncGenerator<MessageShape<M["output"]>> {
  if (call.signal.aborted) throw stoppedBy(call.signal);
  const bytes = encode(rpc, request);
  const stream = client.makeServerStreamRequest(
    pathOf(rpc),
    passBytes,
    passBytes,
    bytes,
    metadata(call),
    deadline(call),
  );
  const cancel = () => stream.cancel();
  call.signal.addEventListener("abort", cancel, { once: true });
  try {
    for await (const reply of stream) yield decode(rpc, reply as Buffer);
  } catch (error) {
    throw failure(error, call);
  } finally {
    call.signal.removeEventListener("abort", cancel);
    // The reader may have stopped early: then nobody hears of the cancellation.
    stream.on("error", () => {});
    stream.cancel();
  }
}

function failure(error: unknown, { signal }: Call): unknown {
  if (error instanceof SallyportError) return error;
  return signal.aborted ? stoppedBy(signal) : fromServiceError(error as ServiceError);
}

const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;
const deadline = ({ deadlineAt }: Call) => ({ deadline: deadlineAt });

function metadata({ bearer }: Call): Metadata {
  const sent = new Metadata();
  if (bearer !== undefined) sent.set("authorization", `Bearer ${bearer}`);
  return sent;
}

function encode<M extends DescMethod>(rpc: M, request: MessageInitShape<M["input"]>): Buffer {
  const bytes = toBinary(rpc.input, create(rpc.input, request));
  if (bytes.length > maxMessageBytes) {
    const message = `the request has ${bytes.length} bytes; at most ${maxMessageBytes} can be sent`;
    throw new SallyportError("RESOURCE_EXHAUSTED", message, { reason: "MESSAGE_TOO_LARGE" });
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function decode<M extends DescMethod>(rpc: M, bytes: Buffer): MessageShape<M["output"]> {
  try {
    return fromBinary(rpc.output, bytes) as MessageShape<M["output"]>;
  } catch (cause) {
    throw new SallyportError("INTERNAL", "the gateway's answer is malformed", { reason: "MESSAGE_MALFORMED", cause });
  }
}
