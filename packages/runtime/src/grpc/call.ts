/** What every call goes through on the server, whatever its kind: who calls, how long, how many at once, what is logged. */
import type { EventEmitter } from "node:events";
import type { Metadata, ServerReadableStream, ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import type { ServiceName } from "@sallyport/proto/subjects";
import { AppError, asAppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { runInScope } from "../telemetry/scope.ts";
import { type SpanOptions, startSpan } from "../telemetry/spans.ts";
import { parseTraceparent } from "../trace.ts";
import { callEnded, callStarted } from "./metrics.ts";
import { serviceOfCertificate } from "./peer.ts";
import type { CallContext } from "./types.ts";

const maxBearerLength = 16 * 1024;

export type AnyServerCall =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>;

export interface CallRules {
  /** Undefined: callers come with a token, if any. Otherwise who may call this gRPC service. */
  readonly allowedCallers: readonly ServiceName[] | undefined;
  /** How long a call may take when the caller sets no deadline, and at most. */
  readonly defaultDeadlineMs: number;
  readonly maxDeadlineMs: number;
}

export class CallRunner {
  readonly #log: Logger;
  readonly #maxCalls: number;
  readonly #active = new Set<AbortController>();
  /** Handlers that still run, also those whose caller has been answered already. */
  #running = 0;

  constructor(log: Logger, maxCalls: number) {
    this.#log = log;
    this.#maxCalls = maxCalls;
  }

  /** Ends every call in flight with `reason`. */
  abortAll(reason: AppError): void {
    for (const controller of this.#active) controller.abort(reason);
  }

  /**
   * Runs `work` for one call. Settles with its result, or at once with the reason when the call is aborted first: then
   * `work` goes on in vain until it heeds the signal, and counts as running so long.
   */
  async run<T>(call: AnyServerCall, rules: CallRules, work: (context: CallContext) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const controller = new AbortController();
    this.#active.add(controller);
    callStarted();
    const span = startSpan(call.getPath().slice(1), spanOptions(call, rules));
    const onCancelled = () => controller.abort(new AppError("CANCELLED", "the caller cancelled"));
    (call as EventEmitter).on("cancelled", onCancelled);
    let timer: NodeJS.Timeout | undefined;
    let failure: unknown;
    try {
      const deadline = deadlineOf(call, rules);
      timer = abortAt(deadline, controller);
      const context = contextOf(call, rules, deadline, controller.signal);
      return await untilAborted(
        runInScope(span.scope, () => this.#bounded(() => work(context))),
        controller.signal,
      );
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      clearTimeout(timer);
      (call as EventEmitter).off("cancelled", onCancelled);
      this.#active.delete(controller);
      // What is left of the work after an answer has no reader any more.
      controller.abort(new AppError("CANCELLED", "the call has ended"));
      runInScope(span.scope, () => this.#report(call, failure, performance.now() - startedAt));
      span.end(failure);
    }
  }

  async #bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#maxCalls) {
      throw new AppError("RESOURCE_EXHAUSTED", "too many calls at once; try again", { reason: "OVERLOADED" });
    }
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
    }
  }

  #report(call: AnyServerCall, failure: unknown, durationMs: number): void {
    callEnded(call.getPath(), failure, durationMs / 1_000);
    const fields = { rpc: call.getPath(), durationMs: Math.round(durationMs) };
    if (failure === undefined) {
      this.#log.debug(fields, "call");
      return;
    }
    const error = asAppError(failure);
    const { code, reason } = error;
    if (code === "INTERNAL") this.#log.error({ ...fields, code, reason, err: error }, "call failed");
    else this.#log.info({ ...fields, code, reason }, "call refused");
  }
}

/** Neighbours continue a trace; callers from outside begin one of ours, or hand us theirs. */
function spanOptions(call: AnyServerCall, { allowedCallers }: CallRules): SpanOptions {
  const [, service, method] = call.getPath().split("/");
  return {
    kind: "server",
    parent: only(call.metadata, "traceparent"),
    ...(allowedCallers === undefined && { edge: true }),
    attributes: { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method },
  };
}

function deadlineOf(call: AnyServerCall, { defaultDeadlineMs, maxDeadlineMs }: CallRules): Date {
  const now = Date.now();
  const asked = Number(call.getDeadline());
  return new Date(Number.isFinite(asked) ? Math.min(asked, now + maxDeadlineMs) : now + defaultDeadlineMs);
}

function abortAt(deadline: Date, controller: AbortController): NodeJS.Timeout {
  const expire = () => controller.abort(new AppError("DEADLINE_EXCEEDED", "the call took longer than its deadline"));
  return setTimeout(expire, Math.max(0, deadline.getTime() - Date.now()));
}

function contextOf(
  call: AnyServerCall,
  { allowedCallers }: CallRules,
  deadline: Date,
  signal: AbortSignal,
): CallContext {
  const peer = allowedCallers && callerAmong(allowedCallers, call);
  // grpc-js gives a certificate only when TLS has verified it.
  const certificate = allowedCallers ? undefined : call.getAuthContext().sslPeerCertificate?.raw;
  const bearer = bearerOf(call.metadata);
  const metadata = call.metadata.clone();
  metadata.remove("authorization");
  const traceparent = only(metadata, "traceparent");
  return {
    signal,
    deadline,
    metadata,
    peer,
    certificate,
    bearer,
    traceparent: parseTraceparent(traceparent) && traceparent,
  };
}

function callerAmong(allowed: readonly ServiceName[], call: AnyServerCall): ServiceName {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const caller = certificate && serviceOfCertificate(certificate);
  if (caller === undefined || !allowed.includes(caller)) {
    const message = `${caller ?? "this certificate"} may not call ${call.getPath().split("/")[1]}`;
    throw new AppError("PERMISSION_DENIED", message, { reason: "CALLER_NOT_ALLOWED" });
  }
  return caller;
}

/** Throws UNAUTHENTICATED (TOKEN_MALFORMED) for an authorization header that is there but not one bearer token. */
function bearerOf(metadata: Metadata): string | undefined {
  const values = metadata.get("authorization");
  if (values.length === 0) return undefined;
  const [, token] = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(values.length === 1 ? String(values[0]) : "") ?? [];
  if (token === undefined || token.length > maxBearerLength) {
    const message = "send one header `authorization: Bearer <access token>`";
    throw new AppError("UNAUTHENTICATED", message, { reason: "TOKEN_MALFORMED" });
  }
  return token;
}

function only(metadata: Metadata, key: string): string | undefined {
  const [value, another] = metadata.get(key);
  return typeof value === "string" && another === undefined ? value : undefined;
}

/** As `promise`, but rejects with the signal's reason as soon as it aborts. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted]);
  } catch (error) {
    // What aborting broke fails for that reason.
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    promise.catch(() => {});
    aborted.catch(() => {});
  }
}
