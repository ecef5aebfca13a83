/** Pure statistics over samples; times in milliseconds. */

export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly mean: number;
}

/** Nearest-rank percentile, `share` from 0 to 1. NaN without samples: a table must not show a number that nobody measured. */
export function percentile(samples: readonly number[], share: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(sorted.length - 1, Math.max(0, rank - 1))]!;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}

export function summarise(samples: readonly number[]): Summary {
  const sum = samples.reduce((total, sample) => total + sample, 0);
  return {
    count: samples.length,
    p50: percentile(samples, 0.5),
    p90: percentile(samples, 0.9),
    p99: percentile(samples, 0.99),
    mean: samples.length === 0 ? Number.NaN : sum / samples.length,
  };
}

/**
 * What `through` adds to `direct`, round by round: both of a round were measured seconds apart, so that what else the
 * machine does weighs on both. The median over the rounds.
 */
export function addedPerRound(
  direct: readonly (readonly number[])[],
  through: readonly (readonly number[])[],
  share: number,
): number {
  const rounds = Math.min(direct.length, through.length);
  const added = Array.from(
    { length: rounds },
    (_, round) => percentile(through[round]!, share) - percentile(direct[round]!, share),
  );
  return median(added.filter((value) => !Number.isNaN(value)));
}
