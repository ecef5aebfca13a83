/** Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/) as samples by name. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

export type Samples = ReadonlyMap<string, readonly Sample[]>;

const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/;
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const escapes: Readonly<Record<string, string>> = { n: "\n", "\\": "\\", '"': '"' };

/** Lines that are no samples are passed over: what is not understood is not shown. */
export function parseMetrics(text: string): Samples {
  const samples = new Map<string, Sample[]>();
  for (const row of text.split("\n")) {
    const [, name, labels = "", number] = line.exec(row) ?? [];
    const value = number === undefined ? Number.NaN : Number(number.replace("+Inf", "Infinity"));
    if (name === undefined || Number.isNaN(value)) continue;
    const known = samples.get(name) ?? [];
    known.push({ labels: parseLabels(labels), value });
    samples.set(name, known);
  }
  return samples;
}

function parseLabels(text: string): Record<string, string> {
  const plain = (value: string) => value.replace(/\\(.)/g, (_, char: string) => escapes[char] ?? char);
  return Object.fromEntries([...text.matchAll(label)].map(([, name, value]) => [name!, plain(value!)]));
}

/** The one value without regard to labels; undefined when the metric is not there. */
export function single(samples: Samples, name: string): number | undefined {
  return samples.get(name)?.[0]?.value;
}

/** Samples of a metric, each with what one of its labels says. */
export function byLabel(samples: Samples, name: string, by: string): { key: string; value: number }[] {
  return (samples.get(name) ?? []).map(({ labels, value }) => ({ key: labels[by] ?? "", value }));
}
