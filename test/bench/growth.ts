/**
 * Whether a request costs more when ledger and log are full. The first thousand requests are real. The rest is filled in,
 * as real requests would take hours: the ledger by SQL (copies of finished requests and their windows under new ids), the
 * log by the audit service itself, which is sent two records for each, of the size of real ones, over the bus. Not filled: the
 * vault's bodies.
 */
import { join } from "node:path";
import type { Platform } from "@sallyport/infra/platform";
import { query } from "../kit/database.ts";
import { type LoadGenerator, startLoadGenerator, startModelServer } from "./children.ts";
import { fillLedger, fillLog } from "./fill.ts";
import { type BenchContext, measureCpu } from "./latency.ts";
import { approveBenchModel, start } from "./platform.ts";
import { median } from "./statistics.ts";
import { sallyport } from "./targets.ts";

export interface GrowthPoint {
  readonly requests: number;
  readonly records: number;
  /** Processor milliseconds a request, all processes, at concurrency 16. */
  readonly cpuMs: number;
  /** Milliseconds, at concurrency 1. */
  readonly p50: number;
  readonly requestsPerSecond: number;
  readonly databaseMb: number;
  /** How long it took to come here. */
  readonly filledMs: number;
}

const callers = 16;
const chunk = 10_000;
const fillMs = 120_000;

export async function measureGrowth(context: BenchContext): Promise<GrowthPoint[]> {
  const { options, home, signal, tell } = context;
  await using stack = new AsyncDisposableStack();
  const modelServer = stack.use(await startModelServer(options.tokens, options.delayMs));
  const generator = stack.use(await startLoadGenerator());
  tell("growth: starting a platform of its own");
  const where = { home: join(home, "growth"), portBase: options.portBase + 500, modelServer: modelServer.url };
  const { platform } = await start(where, signal);
  stack.defer(() => platform.stop());
  await approveBenchModel(platform);
  const points: GrowthPoint[] = [];
  for (const size of options.growth) {
    signal.throwIfAborted();
    const startedAt = performance.now();
    await growTo(platform, generator, size, tell);
    points.push(await measurePoint(context, platform, generator, performance.now() - startedAt));
  }
  return points;
}

async function growTo(platform: Platform, generator: LoadGenerator, size: number, tell: (line: string) => void) {
  const real = Math.min(size, 1_000) - (await countRequests(platform));
  if (real > 0) {
    tell(`growth: ${real} real requests`);
    await generator.measure({
      target: sallyport(platform),
      concurrency: callers,
      forMs: fillMs,
      requests: real,
      stream: false,
    });
  }
  for (let left = size - (await countRequests(platform)); left > 0; left -= chunk) {
    tell(`growth: ${left} requests to fill in`);
    const ids = await fillLedger(platform, Math.min(left, chunk));
    await fillLog(platform, ids);
  }
  // As the database's own housekeeping would have done by then.
  for (const role of ["gateway", "audit"] as const) await query(platform, role, "VACUUM (ANALYZE)");
}

async function measurePoint(context: BenchContext, platform: Platform, generator: LoadGenerator, filledMs: number) {
  const { roundMs, rounds } = context.options;
  const load = (concurrency: number) =>
    generator.measure({ target: sallyport(platform), concurrency, forMs: roundMs, stream: false });
  await load(callers);
  const cpu = await measureCpu(context, platform, generator, callers);
  const [serial, parallel]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    serial.push(median((await load(1)).latencies));
    const { latencies, tookMs } = await load(callers);
    parallel.push((latencies.length * 1_000) / tookMs);
  }
  const [size] = await query<{ mb: number }>(
    platform,
    "gateway",
    "SELECT pg_database_size(current_database()) / 1048576.0 AS mb",
  );
  return {
    requests: await countRequests(platform),
    records: await countRecords(platform),
    cpuMs: Object.values(cpu).reduce((sum, ms) => sum + ms, 0),
    p50: median(serial),
    requestsPerSecond: median(parallel),
    databaseMb: Number(size!.mb),
    filledMs,
  };
}

async function countRequests(platform: Platform): Promise<number> {
  return Number((await query<{ count: string }>(platform, "gateway", "SELECT count(*) FROM requests"))[0]!.count);
}

async function countRecords(platform: Platform): Promise<number> {
  return Number((await query<{ size: string }>(platform, "audit", "SELECT size FROM head"))[0]!.size);
}
