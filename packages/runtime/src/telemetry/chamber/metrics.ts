/**
 * The chamber's metrics, as the outside shows them: summed over its processes. Counters only ever grow by what a process
 * counted since it was last heard, so one that starts again, or is forgotten, takes nothing away.
 */
import type { AllowedSample } from "./reader.ts";
import { chamberMetrics, limits } from "./tables.ts";

interface Instance {
  heardAt: number;
  last: Map<string, AllowedSample>;
}

export class ChamberMetrics {
  readonly #instances = new Map<string, Instance>();
  readonly #totals = new Map<string, AllowedSample>();

  /** False when there are too many processes already. */
  update(service: string, instance: string, samples: readonly AllowedSample[], now: number): boolean {
    this.#forget(now);
    const key = `${service} ${instance}`;
    const known = this.#instances.get(key);
    if (known === undefined && this.#instances.size >= limits.instances) return false;
    const before = known?.last ?? new Map<string, AllowedSample>();
    const last = new Map(samples.map((sample) => [seriesOf(service, sample), sample]));
    for (const [series, sample] of last) {
      if (!sample.cumulative) continue;
      const grown = Math.max(0, sample.value - (before.get(series)?.value ?? 0));
      this.#totals.set(series, { ...sample, value: (this.#totals.get(series)?.value ?? 0) + grown });
    }
    this.#instances.set(key, { heardAt: now, last });
    return true;
  }

  /** Prometheus text (version 0.0.4); of what was never counted only name and kind. */
  text(now: number): string {
    this.#forget(now);
    const shown = new Map<string, AllowedSample>(this.#totals);
    for (const [key, { last }] of this.#instances) {
      for (const sample of last.values()) {
        if (sample.cumulative) continue;
        const series = seriesOf(key.split(" ")[0]!, sample);
        shown.set(series, { ...sample, value: (shown.get(series)?.value ?? 0) + sample.value });
      }
    }
    return Object.entries(chamberMetrics)
      .map(([family, { type, help }]) => {
        const lines = [...shown].filter(([, sample]) => sample.family === family);
        const rows = lines.map(([series, { value }]) => `${series} ${value}\n`).join("");
        return `# HELP ${family} ${help}\n# TYPE ${family} ${type}\n${rows}`;
      })
      .join("");
  }

  #forget(now: number): void {
    for (const [key, { heardAt }] of this.#instances) {
      if (now - heardAt > limits.silentMs) this.#instances.delete(key);
    }
  }
}

/** Names and label values come from tables and the registry: letters, digits, dots; nothing to escape but in a model's name. */
function seriesOf(service: string, { name, labels }: AllowedSample): string {
  const pairs = Object.entries({ component: service, ...labels });
  return `${name}{${pairs.map(([label, value]) => `${label}=${JSON.stringify(value)}`).join(",")}}`;
}
