/**
 * `npm run bench`: what the platform adds to a call of a model server, beside a peer that checks nothing; its memory, its
 * start, and whether a full ledger and log make it slower. Starts what it needs on loopback, stops it, leaves nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { measureGrowth } from "./growth.ts";
import { measureHops } from "./hops.ts";
import { measurePlatform } from "./latency.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { describeMachine } from "./proc.ts";
import { printReport, type Report } from "./report.ts";

async function main(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) {
    console.error(usage);
    return 64;
  }
  const machine = describeMachine();
  const tell = (line: string) => console.error(`[${new Date().toISOString().slice(11, 19)}] ${line}`);
  const at = new Date().toISOString();
  const measured = await measureIn(options, tell);
  const report: Report = { at, machine, loadAfter: loadavg()[1]!, options, ...measured };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  printReport(report);
  return 0;
}

async function measureIn(options: Options, tell: (line: string) => void) {
  const home = mkdtempSync(join(tmpdir(), "sallyport-bench-"));
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(signal)));
  try {
    const context = { options, home, signal: stop.signal, tell };
    const platform = options.parts.has("latency") ? await measurePlatform(context) : {};
    const growth = options.parts.has("growth") ? await measureGrowth(context) : [];
    const hops = options.parts.has("hops") ? await measureHops(context) : [];
    return { ...platform, growth, hops };
  } catch (error) {
    // Told now: what is still ending may fail over its missing home.
    tell(`failed: ${error instanceof Error ? error.message : error}`);
    throw error;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
