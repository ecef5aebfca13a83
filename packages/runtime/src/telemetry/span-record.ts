/** A finished span as plain facts, on its way from a service that cannot export it itself. */
import type { SpanValue } from "./vocabulary.ts";

export interface SpanRecord {
  /** Lower-case hex: 32, 16 and 16 (or none) digits. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** SpanKind of @opentelemetry/api: 0 internal, 1 server, 2 client, 3 producer, 4 consumer. */
  readonly kind: number;
  /** Unix time. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly attributes: Readonly<Record<string, SpanValue>>;
  readonly failed: boolean;
}
