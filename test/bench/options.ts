import { parseArgs } from "node:util";

export interface Options {
  /** What to measure: `latency` (with memory and start), `hops` and `growth`. */
  readonly parts: ReadonlySet<string>;
  readonly concurrencies: readonly number[];
  readonly rounds: number;
  readonly roundMs: number;
  /** Of the model server's answer, and the pause between two of them. */
  readonly tokens: number;
  readonly delayMs: number;
  readonly peer: boolean;
  /** Requests in ledger and log, ascending. */
  readonly growth: readonly number[];
  readonly portBase: number;
  readonly json: string | undefined;
}

export const usage = `usage: npm run bench [-- OPTIONS]
  --json FILE         the results for machines, too
  --quick             fewer and shorter rounds, growth to 10,000: about 2 minutes instead of 10
  --only PART         latency, hops or growth
  --concurrency LIST  callers at once (1,16,64)
  --rounds N          of each target, in turn (5)
  --seconds N         of each round (3)
  --tokens N          that the model server answers (24)
  --delay MS          between two of its tokens (0)
  --no-peer           without the peer
  --port-base N       of the platform (31000)`;

/** Undefined: the arguments make no sense. */
export function readOptions(args: readonly string[]): Options | undefined {
  try {
    const { values } = parseArgs({ args: [...args], options: known });
    const { quick = false, only } = values;
    const number = (text: string | undefined, otherwise: number) => positive(text, otherwise);
    if (only !== undefined && !parts.includes(only)) return undefined;
    return {
      parts: new Set(only ? [only] : parts),
      concurrencies: (values.concurrency ?? "1,16,64").split(",").map((text) => number(text, 0)),
      rounds: number(values.rounds, quick ? 2 : 5),
      roundMs: number(values.seconds, quick ? 1.5 : 3) * 1_000,
      tokens: number(values.tokens, 24),
      delayMs: Number(values.delay ?? 0),
      peer: !values["no-peer"],
      growth: quick ? [1_000, 10_000] : [1_000, 10_000, 100_000],
      portBase: number(values["port-base"], 31_000),
      json: values.json,
    };
  } catch {
    return undefined;
  }
}

const parts = ["latency", "hops", "growth"];
const known = {
  json: { type: "string" },
  quick: { type: "boolean" },
  only: { type: "string" },
  concurrency: { type: "string" },
  rounds: { type: "string" },
  seconds: { type: "string" },
  tokens: { type: "string" },
  delay: { type: "string" },
  "no-peer": { type: "boolean" },
  "port-base": { type: "string" },
} as const;

function positive(text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new RangeError("a number above 0 is needed");
  return value;
}
