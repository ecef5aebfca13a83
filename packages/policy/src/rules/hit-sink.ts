import { viewNames } from "../normalise/index.ts";
import type { Hit } from "./schema.ts";

/** Keeps the hits of each rule apart, drops those that a plainer view already showed, and bounds their number. */
export class HitSink {
  readonly #max: number;
  readonly #byRule = new Map<string, Hit[]>();
  readonly #order: readonly string[] = [...viewNames, "visible"];
  #truncated = false;

  constructor(max: number) {
    this.#max = max;
  }

  add(hit: Hit): void {
    const known = this.#byRule.get(hit.ruleId);
    if (known === undefined) {
      this.#byRule.set(hit.ruleId, [hit]);
    } else if (!known.some((other) => other.start < hit.end && hit.start < other.end && this.#plainer(other, hit))) {
      if (known.length < this.#max) known.push(hit);
      else this.#truncated = true;
    }
  }

  #plainer(a: Hit, b: Hit): boolean {
    return a.view !== b.view && this.#order.indexOf(a.view) < this.#order.indexOf(b.view);
  }

  result(): { hits: Hit[]; truncated: boolean } {
    const hits = [...this.#byRule.values()].flat();
    hits.sort((a, b) => a.start - b.start || a.end - b.end || (a.ruleId < b.ruleId ? -1 : 1));
    return { hits, truncated: this.#truncated };
  }
}
