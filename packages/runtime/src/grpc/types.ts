import type { DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";
import type { ServiceName } from "@sallyport/proto/subjects";

/** What a handler knows about its call. */
export interface CallContext {
  /** Aborts when the caller cancels or is gone, at the deadline and at shutdown. Handlers must heed it. */
  readonly signal: AbortSignal;
  /** The caller's, or ours where that is earlier. */
  readonly deadline: Date;
  /** Without `authorization`, so that it may be logged. */
  readonly metadata: Metadata;
  /** The calling service, from its verified certificate; undefined where callers come with a token. */
  readonly peer: ServiceName | undefined;
  /** The caller's own certificate (DER), verified against `clientCa`; undefined without one, or where services call. */
  readonly certificate: Uint8Array | undefined;
  /** The access token of `authorization: Bearer …`, not verified. Never to be logged. */
  readonly bearer: string | undefined;
  /** Well-formed, or undefined. */
  readonly traceparent: string | undefined;
}

type Request<M extends DescMethod> = MessageShape<M["input"]>;
type Response<M extends DescMethod> = MessageInitShape<M["output"]>;

export type Handler<M extends DescMethod> = M["methodKind"] extends "unary"
  ? (request: Request<M>, context: CallContext) => Promise<Response<M>>
  : M["methodKind"] extends "server_streaming"
    ? (request: Request<M>, context: CallContext) => AsyncIterable<Response<M>>
    : M["methodKind"] extends "client_streaming"
      ? (requests: AsyncIterable<Request<M>>, context: CallContext) => Promise<Response<M>>
      : never;

/** One handler for each method of a service, by its name in lower camel case. */
export type Handlers<S extends DescService> = { [K in keyof S["method"]]: Handler<S["method"][K]> };

export interface CallOptions {
  /** Mandatory: nobody waits for ever. */
  deadlineMs: number;
  signal?: AbortSignal;
  /** Access token, sent as `authorization: Bearer …`. */
  bearer?: string;
  /** Another one than that of the code that calls. */
  traceparent?: string;
  /** Wait, within the deadline, for a neighbour that is being started again, instead of failing at once. */
  waitForReady?: boolean;
}

type ClientMethod<M extends DescMethod> = M["methodKind"] extends "unary"
  ? (request: MessageInitShape<M["input"]>, options: CallOptions) => Promise<MessageShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageInitShape<M["input"]>, options: CallOptions) => AsyncIterable<MessageShape<M["output"]>>
    : M["methodKind"] extends "client_streaming"
      ? (
          requests: AsyncIterable<MessageInitShape<M["input"]>> | Iterable<MessageInitShape<M["input"]>>,
          options: CallOptions,
        ) => Promise<MessageShape<M["output"]>>
      : never;

export type Client<S extends DescService> = { [K in keyof S["method"]]: ClientMethod<S["method"][K]> } & {
  /** Ends the connection; calls in flight fail. */
  close(): void;
};
