/** Short rounds in turn over all targets, so that what else the machine does weighs on each of them alike. */
import type { LoadGenerator } from "./children.ts";
import type { Measured, Target } from "./load-process.ts";
import { addedPerRound, median, type Summary, summarise } from "./statistics.ts";

/** Called anew for each round: access tokens are short-lived. */
export type Targets = Readonly<Record<string, () => Target>>;

export interface Plan {
  readonly concurrencies: readonly number[];
  readonly rounds: number;
  readonly roundMs: number;
  readonly stream: boolean;
}

export interface Line {
  readonly target: string;
  readonly concurrency: number;
  readonly stream: boolean;
  readonly latency: Summary;
  /** Milliseconds over the direct call; 0 for that itself. */
  readonly addedP50: number;
  readonly addedP99: number;
  /** Median over the rounds. */
  readonly requestsPerSecond: number;
  /** Streams only. */
  readonly firstToken?: Summary;
  readonly failures: Readonly<Record<string, number>>;
}

export const baseline = "direct";
const warmUpMs = 1_500;

export async function runRounds(
  generator: LoadGenerator,
  targets: Targets,
  plan: Plan,
  tell: (line: string) => void,
): Promise<Line[]> {
  const lines: Line[] = [];
  for (const concurrency of plan.concurrencies) {
    tell(`${plan.stream ? "streams" : "answers"}, concurrency ${concurrency}: ${plan.rounds} rounds`);
    const measured = await measureAll(generator, targets, concurrency, plan);
    for (const target of Object.keys(targets)) lines.push(lineOf(target, concurrency, plan.stream, measured));
  }
  return lines;
}

type Rounds = Record<string, Measured[]>;

async function measureAll(generator: LoadGenerator, targets: Targets, concurrency: number, plan: Plan) {
  const names = Object.keys(targets);
  const rounds: Rounds = Object.fromEntries(names.map((name) => [name, []]));
  const load = (name: string, forMs: number) =>
    generator.measure({ target: targets[name]!(), concurrency, forMs, stream: plan.stream });
  for (const name of names) await load(name, warmUpMs);
  for (let round = 0; round < plan.rounds; round++) {
    // Nobody is always the first, or always behind the same neighbour's afterwork.
    const turn = round % 2 === 0 ? names : names.toReversed();
    for (const name of turn) rounds[name]!.push(await load(name, plan.roundMs));
  }
  return rounds;
}

function lineOf(target: string, concurrency: number, stream: boolean, rounds: Rounds): Line {
  const own = rounds[target]!;
  const latencies = (of: readonly Measured[]) => of.map(({ latencies }) => latencies);
  const added = (share: number) => addedPerRound(latencies(rounds[baseline]!), latencies(own), share);
  return {
    target,
    concurrency,
    stream,
    latency: summarise(latencies(own).flat()),
    addedP50: added(0.5),
    addedP99: added(0.99),
    requestsPerSecond: median(own.map(({ latencies, tookMs }) => (latencies.length * 1_000) / tookMs)),
    ...(stream && { firstToken: summarise(own.flatMap(({ firstTokens }) => firstTokens)) }),
    failures: sumOf(own.map(({ failures }) => failures)),
  };
}

function sumOf(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const count of counts) for (const [name, times] of Object.entries(count)) sum[name] = (sum[name] ?? 0) + times;
  return sum;
}
