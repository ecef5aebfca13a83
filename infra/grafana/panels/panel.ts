/**
 * What a panel of a dashboard is; `generate.ts` makes Grafana's JSON of it. Every service names itself in the label
 * `component`; the chamber's metrics come through governance under `component="inference-worker"`.
 */
export interface Panel {
  readonly title: string;
  /** PromQL; several make several lines. */
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
  /** Grafana's unit id. */
  readonly unit: "short" | "reqps" | "s" | "percentunit" | "bytes";
  readonly kind?: "timeseries" | "stat";
  /** What it tells, and what a healthy value is. */
  readonly help: string;
}

export interface Dashboard {
  /** Also the file's name. */
  readonly id: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

export const interval = "$__rate_interval";
export const rate = (metric: string, by: string, where = "") => `sum by (${by}) (rate(${metric}${where}[${interval}]))`;
export const quantile = (q: number, metric: string, by = "", where = "") =>
  `histogram_quantile(${q}, sum by (le${by && `, ${by}`}) (rate(${metric}_bucket${where}[${interval}])))`;

/** The middle and the slowest of a histogram, as two lines of a panel. */
export const spread = (metric: string, by = ""): [expr: string, legend: string][] =>
  ([0.5, 0.99] as const).map((q) => [quantile(q, metric, by), `${by && `{{${by}}} `}p${q * 100}`]);

export function panel(
  title: string,
  unit: Panel["unit"],
  help: string,
  ...queries: readonly (readonly [expr: string, legend: string])[]
): Panel {
  return { title, unit, help, queries: queries.map(([expr, legend]) => ({ expr, legend })) };
}

export const stat = (...args: Parameters<typeof panel>): Panel => ({ ...panel(...args), kind: "stat" });
