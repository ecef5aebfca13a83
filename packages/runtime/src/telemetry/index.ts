export { cached } from "./cached.ts";
export { ChamberMetrics } from "./chamber/metrics.ts";
export { ChamberReader } from "./chamber/reader.ts";
export { sendTelemetry } from "./chamber/sender.ts";
export { type Approved, chamberMetrics, runBuckets } from "./chamber/tables.ts";
export { type HttpCall, startHttpCall } from "./http.ts";
export { countDecision, countTicket, type Judged, type JudgingStage, judging } from "./judgements.ts";
export {
  type CounterMetric,
  callBuckets,
  counter,
  type GaugeMetric,
  gauge,
  type HistogramMetric,
  histogram,
  metricsText,
  nameMetrics,
  observe,
  observeValue,
  type Reading,
  requestBuckets,
  secondsSince,
} from "./metrics.ts";
export { startTracing, type TraceExport, type TracingConfig, traceExport } from "./otlp.ts";
export { currentScope, logFields, noteRequest, outOfScope, requestIdOf, runInScope } from "./scope.ts";
export type { SpanRecord } from "./span-record.ts";
export {
  type ActiveSpan,
  currentTrace,
  currentTraceparent,
  describeSpan,
  type OpenSpan,
  type SpanOptions,
  setSampling,
  startSpan,
  withSpan,
  withSpanSync,
} from "./spans.ts";
export {
  finishReasons,
  fits,
  type SpanAttributes,
  type SpanKey,
  type SpanValue,
  spanVocabulary,
} from "./vocabulary.ts";
