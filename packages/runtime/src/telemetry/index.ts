export { cached } from "./cached.ts";
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
