/** W3C Trace Context (https://www.w3.org/TR/trace-context/), version 00. */
import type { Ids } from "./clock.ts";

export interface TraceParent {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero: the caller's span. */
  readonly spanId: string;
  readonly sampled: boolean;
}

/** Undefined for anything malformed: a broken header starts a new trace, it never fails a request (section 2.3). */
export function parseTraceparent(header: string | undefined): TraceParent | undefined {
  const [, version, traceId, spanId, flags, rest] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header ?? "") ?? [];
  if (!version || !traceId || !spanId || !flags || version === "ff") return undefined;
  if (version === "00" && rest !== undefined) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

/** A child of `parent` (same trace, new span), or a new trace. */
export function newTrace(ids: Pick<Ids, "bytes">, parent?: TraceParent): TraceParent {
  const traceId = parent?.traceId ?? Buffer.from(ids.bytes(16)).toString("hex");
  return { traceId, spanId: Buffer.from(ids.bytes(8)).toString("hex"), sampled: parent?.sampled ?? true };
}
