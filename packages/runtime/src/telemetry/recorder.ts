/**
 * The OpenTelemetry API without its SDK: a tracer whose finished spans go to a function. For the chamber, which has no route
 * to a collector, and where every import is one more thing beside the model.
 */
import { randomBytes } from "node:crypto";
import {
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { SpanRecord } from "./span-record.ts";
import type { SpanValue } from "./vocabulary.ts";

/** From now on every span of this process that belongs to a recorded trace is handed to `onEnd`. Returns what ends it. */
export function recordSpans(onEnd: (span: SpanRecord) => void): () => void {
  const tracer: Tracer = {
    startSpan: (name, options = {}, context) => new RecordedSpan(name, options, context, onEnd),
    startActiveSpan: () => {
      throw new Error("spans are started with startSpan here");
    },
  };
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  return () => trace.disable();
}

class RecordedSpan implements Span {
  readonly #context: SpanContext;
  readonly #parentSpanId: string | undefined;
  readonly #options: SpanOptions;
  readonly #attributes: Record<string, SpanValue> = {};
  readonly #onEnd: (span: SpanRecord) => void;
  readonly #startMs = performance.timeOrigin + performance.now();
  #name: string;
  #failed = false;
  #ended = false;

  constructor(name: string, options: SpanOptions, context: Context | undefined, onEnd: (span: SpanRecord) => void) {
    const parent = context && trace.getSpanContext(context);
    const traceId = parent?.traceId ?? randomBytes(16).toString("hex");
    this.#context = { traceId, spanId: randomBytes(8).toString("hex"), traceFlags: TraceFlags.SAMPLED };
    this.#parentSpanId = parent?.spanId;
    this.#name = name;
    this.#options = options;
    this.#onEnd = onEnd;
    this.setAttributes(options.attributes ?? {});
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  setAttribute(key: string, value: Attributes[string]): this {
    this.#attributes[key] = value as SpanValue;
    return this;
  }

  setAttributes(attributes: Attributes): this {
    for (const [key, value] of Object.entries(attributes)) this.setAttribute(key, value);
    return this;
  }

  setStatus({ code }: SpanStatus): this {
    this.#failed = code === SpanStatusCode.ERROR;
    return this;
  }

  updateName(name: string): this {
    this.#name = name;
    return this;
  }

  /** Events, links and exceptions hold free text: none is taken. */
  addEvent(): this {
    return this;
  }

  addLink(): this {
    return this;
  }

  addLinks(): this {
    return this;
  }

  recordException(): void {}

  isRecording(): boolean {
    return !this.#ended;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const { traceId, spanId } = this.#context;
    this.#onEnd({
      ...{ traceId, spanId, parentSpanId: this.#parentSpanId, name: this.#name, attributes: this.#attributes },
      kind: this.#options.kind ?? 0,
      startMs: this.#startMs,
      durationMs: performance.timeOrigin + performance.now() - this.#startMs,
      failed: this.#failed,
    });
  }
}
