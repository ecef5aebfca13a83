/**
 * What the code that runs now is about: its place in the trace, and the request. Kept in AsyncLocalStorage, so that log
 * lines, outgoing calls and outbox rows carry it without being handed it.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Span } from "@opentelemetry/api";
import type { TraceParent } from "../trace.ts";

export interface Scope {
  readonly trace: TraceParent;
  readonly span: Span | undefined;
  /** Of the code around this one, to which a request found out later is told too. */
  readonly outer: Scope | undefined;
  requestId: string | undefined;
}

const scopes = new AsyncLocalStorage<Scope | undefined>();

export function currentScope(): Scope | undefined {
  return scopes.getStore();
}

export function runInScope<T>(scope: Scope | undefined, work: () => T): T {
  return scopes.run(scope, work);
}

/** For a loop that serves everybody: it must not count as part of the request that happened to start it. */
export function outOfScope<T>(work: () => T): T {
  return scopes.run(undefined, work);
}

/** From now on, log lines of this call or message are about this request. */
export function noteRequest(requestId: string): void {
  for (let scope = currentScope(); scope !== undefined && scope.requestId === undefined; scope = scope.outer) {
    scope.requestId = requestId;
  }
}

/** The request that a decoded message is about, where it says so in the usual field and form. */
export function requestIdOf(message: unknown): string | undefined {
  const { requestId } = (message ?? {}) as { requestId?: unknown };
  return typeof requestId === "string" && /^[0-9a-f-]{36}$/.test(requestId) ? requestId : undefined;
}

/** For the lines of the log. */
export function logFields(): { requestId?: string; traceId?: string } {
  const scope = currentScope();
  if (scope === undefined) return {};
  const { requestId, trace } = scope;
  return requestId === undefined ? { traceId: trace.traceId } : { requestId, traceId: trace.traceId };
}
