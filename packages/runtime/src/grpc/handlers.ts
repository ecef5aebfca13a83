/** From our handlers to those of grpc-js, for the three kinds of methods that the contracts use. */
import { once } from "node:events";
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import type {
  MethodDefinition,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { noteRequest, requestIdOf } from "../telemetry/scope.ts";
import { type CallRules, type CallRunner, untilAborted } from "./call.ts";
import { decodeMessage, encodeMessage, passBytes } from "./codec.ts";
import { encodeStatus } from "./status.ts";
import type { CallContext } from "./types.ts";

type Message = MessageInitShape<DescMethod["output"]>;
type UnaryHandler = (request: unknown, context: CallContext) => Promise<Message>;
type StreamHandler = (request: unknown, context: CallContext) => AsyncIterable<Message>;

export interface Adapter {
  readonly runner: CallRunner;
  readonly rules: CallRules;
  readonly maxMessageBytes: number;
}

export function methodDefinition(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming",
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: passBytes,
    requestDeserialize: passBytes,
    responseSerialize: passBytes,
    responseDeserialize: passBytes,
  };
}

export function adaptHandler(method: DescMethod, handler: unknown, adapter: Adapter): UntypedHandleCall {
  if (method.methodKind === "unary") return unary(method, handler as UnaryHandler, adapter);
  if (method.methodKind === "server_streaming") return serverStream(method, handler as StreamHandler, adapter);
  if (method.methodKind === "client_streaming") return clientStream(method, handler as UnaryHandler, adapter);
  throw new TypeError(`${method.toString()}: no adapter for streams in both directions`);
}

function unary(method: DescMethod, handler: UnaryHandler, { runner, rules, maxMessageBytes }: Adapter) {
  return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
    const work = async (context: CallContext) => {
      const request = decodeRequest(method, call.request);
      return encodeMessage(method.output, await handler(request, context), maxMessageBytes);
    };
    answer(runner.run(call, rules, work), reply);
  };
}

/** What the log says from here on is about the request that the message names. */
function decodeRequest(method: DescMethod, bytes: Buffer) {
  const request = decodeMessage(method.input, bytes, "INVALID_ARGUMENT");
  const requestId = requestIdOf(request);
  if (requestId !== undefined) noteRequest(requestId);
  return request;
}

function clientStream(method: DescMethod, handler: UnaryHandler, { runner, rules, maxMessageBytes }: Adapter) {
  return (call: ServerReadableStream<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
    const work = async (context: CallContext) => {
      const response = await handler(decodeAll(method, call), context);
      return encodeMessage(method.output, response, maxMessageBytes);
    };
    answer(runner.run(call, rules, work), reply);
  };
}

async function* decodeAll(method: DescMethod, call: AsyncIterable<Buffer>) {
  for await (const bytes of call) yield decodeMessage(method.input, bytes, "INVALID_ARGUMENT");
}

function answer(result: Promise<Buffer>, reply: sendUnaryData<Buffer>): void {
  result.then(
    (bytes) => reply(null, bytes),
    (error) => reply(encodeStatus(error)),
  );
}

function serverStream(method: DescMethod, handler: StreamHandler, { runner, rules, maxMessageBytes }: Adapter) {
  return (call: ServerWritableStream<Buffer, Buffer>) => {
    const work = async (context: CallContext) => {
      const request = decodeRequest(method, call.request);
      const messages = handler(request, context)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await untilAborted(messages.next(), context.signal);
          if (next.done) return;
          await write(call, encodeMessage(method.output, next.value, maxMessageBytes), context.signal);
        }
      } finally {
        // Lets the generator's own `finally` run. Not awaited: it may hang where it does not heed the signal.
        messages.return?.().catch(() => {});
      }
    };
    runner.run(call, rules, work).then(
      () => call.end(),
      // This is how grpc-js takes a status on a stream.
      (error) => call.emit("error", Object.assign(new Error("stream failed"), encodeStatus(error))),
    );
  };
}

/** Waits while the caller does not keep up, so that at most a few messages are in memory. */
async function write(call: ServerWritableStream<Buffer, Buffer>, bytes: Buffer, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (!call.write(bytes)) await untilAborted(once(call, "drain", { signal }), signal);
}
