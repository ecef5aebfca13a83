/** What one request makes database and bus do, counted by them: the same on a busy machine and on a quiet one. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Platform } from "@sallyport/infra/platform";
import { type StreamName, streams } from "@sallyport/proto/subjects";
import { PROVISIONER } from "../../infra/local/nats/permissions.ts";
import { connectionOptions } from "../../infra/local/nats/provisioner.ts";
import { query } from "../kit/database.ts";
import type { LoadGenerator } from "./children.ts";
import { sallyport } from "./targets.ts";

/** Of one request, at one caller; what the platform does at rest is taken off. */
export interface Counts {
  readonly transactions: number;
  /** How often the write-ahead log was flushed to disk. */
  readonly walFlushes: number;
  readonly walKb: number;
  /** Stream → messages stored. */
  readonly messages: Readonly<Partial<Record<StreamName, number>>>;
}

const requests = 200;
const forMs = 120_000;
const counted = ["JOBS", "WINDOWS", "VERDICTS", "AUDIT"] as const satisfies readonly StreamName[];
/** A session tells the database's statistics what it did within a second or so. */
const settleMs = 3_000;

export async function measureCounts(platform: Platform, generator: LoadGenerator): Promise<Counts> {
  const [idle, idleMs] = await between(platform, async () => {});
  const [busy, busyMs] = await between(platform, async () => {
    await generator.measure({ target: sallyport(platform), concurrency: 1, forMs, requests, stream: false });
  });
  const each = (name: string) => (busy[name]! - (idle[name]! * busyMs) / idleMs) / requests;
  return {
    transactions: each("transactions"),
    walFlushes: each("flushes"),
    walKb: each("walBytes") / 1024,
    messages: Object.fromEntries(counted.map((stream) => [stream, each(stream)])),
  };
}

async function between(platform: Platform, work: () => Promise<void>): Promise<[Record<string, number>, number]> {
  const [before, since] = [await readCounters(platform), performance.now()];
  await work();
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const tookMs = performance.now() - since;
  const after = await readCounters(platform);
  return [Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name]!])), tookMs];
}

async function readCounters(platform: Platform): Promise<Record<string, number>> {
  const sql = `SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS transactions,
    (SELECT wal_bytes FROM pg_stat_wal) AS "walBytes", (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal') AS flushes`;
  const [row] = await query<Record<string, string>>(platform, "gateway", sql);
  const nc = await connect({ ...connectionOptions(platform.home, platform.ports.nats, PROVISIONER), reconnect: false });
  try {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    const stored = await Promise.all(
      counted.map(async (name) => [name, (await manager.streams.info(streams[name].name)).state.last_seq] as const),
    );
    return { ...Object.fromEntries(stored), ...mapValues(row!, Number) };
  } finally {
    await nc.close();
  }
}

function mapValues<Value, Result>(of: Record<string, Value>, change: (value: Value) => Result): Record<string, Result> {
  return Object.fromEntries(Object.entries(of).map(([name, value]) => [name, change(value)]));
}
