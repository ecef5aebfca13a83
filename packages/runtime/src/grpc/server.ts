import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type MethodDefinition, Server, type UntypedHandleCall } from "@grpc/grpc-js";
import type { ServiceName } from "@sallyport/proto/subjects";
import { HealthImplementation } from "grpc-health-check";
import type { Address } from "../env.ts";
import { formatAddress } from "../env-values.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { TlsMaterial } from "../tls.ts";
import { type CallRules, CallRunner } from "./call.ts";
import { type ClientCertificates, serverCredentials } from "./credentials.ts";
import { adaptHandler, methodDefinition } from "./handlers.ts";
import { type IntakeLimits, intake, withConnectionLimits } from "./intake.ts";
import { addReflection } from "./reflection.ts";
import type { Handlers } from "./types.ts";

const defaultMaxMessageBytes = 4 * 1024 * 1024;
const defaultMaxCalls = 1_024;
const maxStreamsPerConnection = 256;
/** A connection without calls. */
const maxIdleMs = 5 * 60_000;
/** Then a caller has to connect anew, so that one whose certificate was taken back does not stay. */
const maxConnectionAgeMs = 60 * 60_000;
const keepaliveTimeMs = 20_000;
const keepaliveTimeoutMs = 5_000;
const graceMs = 3_000;
const forceMs = 500;
/** Default and maximum; a stream may follow something for long. */
const unaryDeadlines = { defaultDeadlineMs: 30_000, maxDeadlineMs: 120_000 };
const streamDeadlines = { defaultDeadlineMs: 15 * 60_000, maxDeadlineMs: 60 * 60_000 };

export interface ServeOptions {
  address: Address;
  tls: TlsMaterial;
  /** Set: callers must show a certificate of `tls.ca`, and call only what is allowed to their service. */
  mutual?: { allowedCallers: (grpcServiceName: string) => readonly ServiceName[] };
  /** Not with `mutual`: callers may show a certificate of this CA, and it comes with their calls. */
  clientCa?: Pick<TlsMaterial, "ca" | "onChange"> | undefined;
  log: Logger;
  /** Largest message, in either direction (4 MiB). */
  maxMessageBytes?: number;
  /** Calls at once, over all connections (1,024). */
  maxCalls?: number;
  deadlines?: { unary?: typeof unaryDeadlines; stream?: typeof streamDeadlines };
  /** For tests that do not wait 30 s. */
  intake?: IntakeLimits;
}

export interface GrpcServer extends AsyncDisposable {
  readonly address: Address;
  /** What the health service says about everything; true from the start. */
  setServing(serving: boolean): void;
}

type Implementations<T extends readonly DescService[]> = {
  readonly [I in keyof T]: { readonly service: T[I]; readonly handlers: Handlers<T[I]> };
};

/**
 * Serves gRPC over TLS, with health (grpc.health.v1) and reflection, which are open to everyone who can connect.
 * Disposing of it stops new calls, gives those in flight 3 s, then ends them with UNAVAILABLE.
 */
export async function serve<const T extends readonly DescService[]>(
  implementations: Implementations<T>,
  options: ServeOptions,
): Promise<GrpcServer> {
  const { address, tls, mutual, log, maxMessageBytes = defaultMaxMessageBytes, maxCalls = defaultMaxCalls } = options;
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.max_concurrent_streams": maxStreamsPerConnection,
    "grpc.keepalive_time_ms": keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    "grpc.max_connection_idle_ms": maxIdleMs,
    "grpc.max_connection_age_ms": maxConnectionAgeMs,
    "grpc.max_connection_age_grace_ms": streamDeadlines.maxDeadlineMs,
    "grpc.enable_channelz": 0,
    interceptors: [intake(options.intake)],
  });
  const runner = new CallRunner(log, maxCalls);
  const services = implementations.map(({ service }) => service as DescService);
  for (const { service, handlers } of implementations as Implementations<readonly DescService[]>) {
    const allowedCallers = mutual?.allowedCallers(service.typeName);
    const rulesOf = (method: DescMethod): CallRules => ({
      allowedCallers,
      ...(method.methodKind === "unary"
        ? (options.deadlines?.unary ?? unaryDeadlines)
        : (options.deadlines?.stream ?? streamDeadlines)),
    });
    addService(server, service, handlers, (method, handler) =>
      adaptHandler(method, handler, { runner, rules: rulesOf(method), maxMessageBytes }),
    );
  }
  const health = new HealthImplementation();
  health.addToServer(server as unknown as Parameters<HealthImplementation["addToServer"]>[0]);
  addReflection(server, services);
  const setServing = (serving: boolean) => {
    for (const name of ["", ...services.map(({ typeName }) => typeName)]) {
      health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
    }
  };
  const clients = mutual ? "required" : (options.clientCa ?? "none");
  const port = await bind(server, address, tls, clients);
  setServing(true);
  return {
    address: { host: address.host, port },
    setServing,
    async [Symbol.asyncDispose]() {
      setServing(false);
      await shutDown(server, runner, { ...address, port });
    },
  };
}

function addService(
  server: Server,
  service: DescService,
  handlers: Record<string, unknown>,
  adapt: (method: DescMethod, handler: unknown) => UntypedHandleCall,
): void {
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const implementation: Record<string, UntypedHandleCall> = {};
  for (const method of service.methods) {
    definition[method.localName] = methodDefinition(method);
    implementation[method.localName] = adapt(method, handlers[method.localName]);
  }
  server.addService(definition, implementation);
}

function bind(server: Server, address: Address, tls: TlsMaterial, clients: ClientCertificates): Promise<number> {
  const credentials = withConnectionLimits(serverCredentials(tls, clients), maxStreamsPerConnection);
  const target = formatAddress(address);
  return new Promise((resolve, reject) => {
    server.bindAsync(target, credentials, (error, port) => {
      if (error) reject(new AppError("UNAVAILABLE", `cannot listen on ${target}`, { reason: "ADDRESS", cause: error }));
      else resolve(port);
    });
  });
}

async function shutDown(server: Server, runner: CallRunner, bound: Address): Promise<void> {
  // Not forceShutdown: without channelz grpc-js forgets its connections there, and one open health watch holds it up.
  server.drain(formatAddress(bound), graceMs + forceMs);
  const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  const abort = setTimeout(() => {
    runner.abortAll(new AppError("UNAVAILABLE", "the service is stopping; try again", { reason: "STOPPING" }));
  }, graceMs);
  await closed;
  clearTimeout(abort);
}
