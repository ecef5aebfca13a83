/**
 * Spans, written in our own adapters with the OpenTelemetry API. Who records them is decided once a process (otlp.ts,
 * bus-tracer.ts); where nobody does, a span costs a context and passes on what came.
 */
import { randomBytes } from "node:crypto";
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { asAppError } from "../errors.ts";
import { formatTraceparent, parseTraceparent, type TraceParent } from "../trace.ts";
import { currentScope, runInScope, type Scope } from "./scope.ts";
import { fittingAttributes, fittingName, type SpanAttributes } from "./vocabulary.ts";

const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

export interface SpanOptions {
  readonly kind?: keyof typeof kinds;
  /** Undefined: the scope's; none there either: a new trace. */
  readonly parent?: TraceParent | string;
  /** Where a call comes in from outside: the trace is the caller's or a new one, whether it is recorded is ours to say. */
  readonly edge?: true;
  readonly attributes?: SpanAttributes;
  readonly requestId?: string;
}

export interface ActiveSpan {
  /** For whoever takes part next. */
  readonly trace: TraceParent;
  readonly traceparent: string;
  /** Whether somebody will read what it says. */
  readonly recording: boolean;
  set(attributes: SpanAttributes): void;
}

export interface OpenSpan extends ActiveSpan {
  readonly scope: Scope;
  /** `failure`: undefined when it went well. */
  end(failure?: unknown): void;
}

/** Share of traces that are recorded, decided where a call comes in; 0 while nobody exports. */
let ratio = 0;

export function setSampling(share: number): void {
  ratio = share;
}

/** The last 56 bits of a trace id are random (W3C Trace Context, level 2), so every gateway decides alike. */
function decide(parent: TraceParent | undefined): boolean {
  if (ratio === 0 || parent === undefined) return Math.random() < ratio;
  return Number.parseInt(parent.traceId.slice(-14), 16) < ratio * 2 ** 56;
}

function newIds(): Pick<TraceParent, "traceId" | "spanId"> {
  const ids = randomBytes(24).toString("hex");
  return { traceId: ids.slice(0, 32), spanId: ids.slice(32) };
}

export function startSpan(name: string, options: SpanOptions = {}): OpenSpan {
  const outer = currentScope();
  const parent = parentOf(options.parent) ?? outer?.trace;
  const sampled = options.edge ? decide(parent) : (parent?.sampled ?? false);
  const span = sampled ? record(name, options, parent) : undefined;
  const own = contextOf(span) ?? { ...(parent ?? newIds()), sampled };
  const requestId = options.requestId ?? (outer?.trace.traceId === own.traceId ? outer.requestId : undefined);
  const scope: Scope = { trace: own, span, outer, requestId };
  return {
    scope,
    trace: own,
    traceparent: formatTraceparent(own),
    recording: span?.isRecording() ?? false,
    set: (attributes) => void span?.setAttributes(fittingAttributes(attributes) as never),
    end: (failure) => {
      if (span === undefined) return;
      if (failure !== undefined) markFailed(span, failure, options.kind === "client" || isFault(failure));
      span.end();
    },
  };
}

/** Runs `work` inside a new span, which ends with it; a failure is noted by its code, never by its message. */
export async function withSpan<T>(
  name: string,
  options: SpanOptions,
  work: (span: ActiveSpan) => Promise<T> | T,
): Promise<T> {
  const span = startSpan(name, options);
  let failure: unknown;
  try {
    return await runInScope(span.scope, () => work(span));
  } catch (error) {
    failure = error ?? new Error("failed");
    throw error;
  } finally {
    span.end(failure);
  }
}

/** `withSpan` for work that is over when it returns. */
export function withSpanSync<T>(name: string, options: SpanOptions, work: (span: ActiveSpan) => T): T {
  const span = startSpan(name, options);
  let failure: unknown;
  try {
    return runInScope(span.scope, () => work(span));
  } catch (error) {
    failure = error ?? new Error("failed");
    throw error;
  } finally {
    span.end(failure);
  }
}

/** More to say about what runs now. */
export function describeSpan(attributes: SpanAttributes): void {
  currentScope()?.span?.setAttributes(fittingAttributes(attributes) as never);
}

/** Where the code that runs now stands in its trace. */
export function currentTrace(): TraceParent | undefined {
  return currentScope()?.trace;
}

export function currentTraceparent(): string | undefined {
  const trace = currentTrace();
  return trace && formatTraceparent(trace);
}

function parentOf(parent: SpanOptions["parent"]): TraceParent | undefined {
  return typeof parent === "string" ? parseTraceparent(parent) : parent;
}

function record(
  name: string,
  { kind = "internal", attributes = {} }: SpanOptions,
  parent: TraceParent | undefined,
): Span {
  const options = { kind: kinds[kind], attributes: fittingAttributes(attributes) as never };
  const remote = parent && { traceId: parent.traceId, spanId: parent.spanId, traceFlags: TraceFlags.SAMPLED };
  const context = remote ? trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true }) : ROOT_CONTEXT;
  return trace.getTracer("sallyport").startSpan(fittingName(name), options, context);
}

/** Undefined where this process records nothing: then what came is passed on. */
function contextOf(span: Span | undefined): TraceParent | undefined {
  if (!span?.isRecording()) return undefined;
  const { traceId, spanId } = span.spanContext();
  return { traceId, spanId, sampled: true };
}

/** The reason, or the code of an error of our own that says more than INTERNAL does. */
function reasonOf(failure: unknown): string {
  const { reason } = asAppError(failure);
  const code = failure instanceof Error && "code" in failure ? failure.code : undefined;
  return reason === "INTERNAL" && typeof code === "string" ? code : reason;
}

/** What a caller could have done better, or policy refused, is no fault of the one who says so. */
function isFault(failure: unknown): boolean {
  return ["INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(asAppError(failure).code);
}

function markFailed(span: Span, failure: unknown, isError: boolean): void {
  span.setAttributes(fittingAttributes({ "error.type": reasonOf(failure) }) as never);
  if (isError) span.setStatus({ code: SpanStatusCode.ERROR });
}
