/** Start, memory at rest, latency and throughput beside the peer, and the processor time that a request takes. */
import { join } from "node:path";
import type { Platform } from "@sallyport/infra/platform";
import { type LoadGenerator, type Server, startLoadGenerator, startModelServer, startPortkey } from "./children.ts";
import { type Counts, measureCounts } from "./counts.ts";
import type { Options } from "./options.ts";
import { approveBenchModel, cpuOfPlatform, memoryOfPlatform, type PerProcess, start, warningsIn } from "./platform.ts";
import { type Memory, memoryOf } from "./proc.ts";
import { type Line, runRounds } from "./rounds.ts";
import { sallyport, targetsOf } from "./targets.ts";

export interface BenchContext {
  readonly options: Options;
  readonly home: string;
  readonly signal: AbortSignal;
  readonly tell: (line: string) => void;
}

export interface PlatformResult {
  /** Milliseconds: with everything to be made (keys, database, model), and with it there. */
  readonly startMs: { readonly cold: number; readonly warm: number };
  /** At rest, the pilot model loaded; `runner` is this process in the part of `npm start`. */
  readonly memory: PerProcess<Memory>;
  readonly memoryAfterLoad: PerProcess<Memory>;
  readonly peerMemory?: Memory;
  readonly lines: readonly Line[];
  /** Concurrency → process → processor milliseconds a request. */
  readonly cpu: Readonly<Record<number, PerProcess<number>>>;
  readonly counts: Counts;
  /** Share of one core that each process takes with nothing to do. */
  readonly cpuAtRest: PerProcess<number>;
  readonly errorsLogged: number;
}

const restMs = 5_000;
const streamedAt = [1, 16];

export async function measurePlatform(context: BenchContext): Promise<PlatformResult> {
  const { options, tell, signal } = context;
  await using stack = new AsyncDisposableStack();
  const modelServer = stack.use(await startModelServer(options.tokens, options.delayMs));
  const peer = options.peer ? stack.use(await startPortkey()) : undefined;
  const generator = stack.use(await startLoadGenerator());
  const { platform, startMs } = await startTwice(context, modelServer, stack);
  await pause(restMs);
  const memory = { ...memoryOfPlatform(platform), runner: memoryOf(process.pid, false) };
  const atRest = await cpuAtRest(platform);
  await approveBenchModel(platform);
  const lines: Line[] = [];
  for (const stream of [false, true]) {
    signal.throwIfAborted();
    const concurrencies = options.concurrencies.filter((one) => !stream || streamedAt.includes(one));
    // The peer's streams fail with the packages that npm brings it today: see docs/benchmarks.md.
    const targets = targetsOf(modelServer.url, stream ? undefined : peer?.url, platform, stream);
    lines.push(...(await runRounds(generator, targets, { ...options, concurrencies, stream }, tell)));
  }
  tell("what a request makes database and bus do");
  const counts = await measureCounts(platform, generator);
  const cpu: Record<number, PerProcess<number>> = {};
  for (const concurrency of options.concurrencies)
    cpu[concurrency] = await measureCpu(context, platform, generator, concurrency);
  return {
    startMs,
    memory,
    memoryAfterLoad: memoryOfPlatform(platform),
    ...(peer && { peerMemory: memoryOf(peer.pid) }),
    lines,
    cpu,
    counts,
    cpuAtRest: atRest,
    errorsLogged: warningsIn(platform).length,
  };
}

async function startTwice({ home, options, signal, tell }: BenchContext, { url }: Server, stack: AsyncDisposableStack) {
  const where = { home: join(home, "platform"), portBase: options.portBase, modelServer: url };
  const begin = () => start(where, signal);
  tell("starting the platform for the first time");
  const first = await begin();
  await first.platform.stop();
  tell("starting it again");
  const second = await begin();
  stack.defer(() => second.platform.stop());
  return { platform: second.platform, startMs: { cold: first.tookMs, warm: second.tookMs } };
}

/** Less what the platform takes at rest. The load generator and the model server are not counted. */
export async function measureCpu(
  { options, tell }: BenchContext,
  platform: Platform,
  generator: LoadGenerator,
  concurrency: number,
): Promise<PerProcess<number>> {
  tell(`processor time, concurrency ${concurrency}`);
  const rest = await cpuAtRest(platform);
  const before = cpuOfPlatform(platform);
  const { latencies, tookMs } = await generator.measure({
    target: sallyport(platform),
    concurrency,
    forMs: 2 * options.roundMs,
    stream: false,
  });
  const after = cpuOfPlatform(platform);
  return Object.fromEntries(
    Object.entries(after).map(([name, ms]) => [name, (ms - before[name]! - rest[name]! * tookMs) / latencies.length]),
  );
}

/** Share of one core that each process takes with nothing to do. */
async function cpuAtRest(platform: Platform): Promise<PerProcess<number>> {
  const [before, since] = [cpuOfPlatform(platform), performance.now()];
  await pause(restMs);
  const tookMs = performance.now() - since;
  return Object.fromEntries(
    Object.entries(cpuOfPlatform(platform)).map(([name, ms]) => [name, (ms - before[name]!) / tookMs]),
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
