/** The results as tables for people. The JSON has them whole. */
import type { Counts } from "./counts.ts";
import type { GrowthPoint } from "./growth.ts";
import type { Hop } from "./hops.ts";
import type { PlatformResult } from "./latency.ts";
import type { Options } from "./options.ts";
import type { Machine, Memory } from "./proc.ts";
import type { Line } from "./rounds.ts";

export interface Report extends Partial<PlatformResult> {
  readonly at: string;
  readonly machine: Machine;
  /** Load average of the last five minutes at the end. */
  readonly loadAfter: number;
  readonly options: Options;
  readonly growth: readonly GrowthPoint[];
  readonly hops: readonly Hop[];
}

export function printReport(report: Report): void {
  const { machine, options } = report;
  console.log(
    `\n${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.kernel}, Node ${machine.node}`,
  );
  console.log(
    `load before ${machine.loadBefore.toFixed(1)}, after ${report.loadAfter.toFixed(1)}; answers of ${options.tokens} tokens, ${options.delayMs} ms apart`,
  );
  if (report.lines) printLines(report.lines);
  if (report.cpu) printCpu(report.cpu);
  if (report.counts) printCounts(report.counts);
  if (report.memory) printMemory(report);
  if (report.startMs) {
    const { cold, warm } = report.startMs;
    const rest = Object.values(report.cpuAtRest ?? {}).reduce((sum, share) => sum + share, 0);
    console.log(`\nAt rest the platform takes ${(100 * rest).toFixed(0)}% of a core.`);
    console.log(`Start: first ${seconds(cold)} s, warm ${seconds(warm)} s. Errors logged: ${report.errorsLogged}`);
  }
  if (report.hops.length > 0) printHops(report.hops);
  if (report.growth.length > 0) printGrowth(report.growth);
}

function printLines(lines: readonly Line[]): void {
  console.log("\nLatency in ms; added: over the direct call of the same round, median of the rounds");
  const rows = lines.map((line) => [
    line.stream ? "stream" : "answer",
    String(line.concurrency),
    line.target,
    ms(line.latency.p50),
    ms(line.latency.p99),
    ms(line.addedP50),
    ms(line.addedP99),
    line.requestsPerSecond.toFixed(0),
    line.firstToken ? ms(line.firstToken.p50) : "",
    line.firstToken ? ms(line.firstToken.p99) : "",
    Object.entries(line.failures)
      .map(([what, times]) => `${times} × ${what}`)
      .join(", ") || "0",
  ]);
  table(["", "callers", "target", "p50", "p99", "+p50", "+p99", "req/s", "first p50", "first p99", "failed"], rows);
}

function printCpu(cpu: NonNullable<Report["cpu"]>): void {
  console.log("\nProcessor time a request, less that at rest, in ms");
  const columns = Object.keys(cpu);
  const names = Object.keys(cpu[Number(columns[0])] ?? {});
  const value = (column: string, name: string) => cpu[Number(column)]![name]!;
  const sum = (column: string) => names.reduce((total, name) => total + value(column, name), 0);
  const rows = names.map((name) => [name, ...columns.map((column) => ms(value(column, name)))]);
  table(
    ["process", ...columns.map((column) => `at ${column}`)],
    [...rows, ["sum", ...columns.map((one) => ms(sum(one)))]],
  );
}

function printCounts({ transactions, walFlushes, walKb, messages }: Counts): void {
  const stored = Object.entries(messages).map(([stream, count]) => `${stream} ${count.toFixed(1)}`);
  console.log(
    `\nA request makes ${transactions.toFixed(1)} transactions, ${walFlushes.toFixed(1)} flushes of ${walKb.toFixed(0)} KiB of write-ahead log, and bus messages: ${stored.join(", ")}`,
  );
}

function printMemory({ memory = {}, memoryAfterLoad = {}, peerMemory }: Report): void {
  console.log("\nMemory in MiB: PSS at rest with the pilot model, RSS, and PSS after the load");
  const row = (name: string, rest: Memory | undefined, after: Memory | undefined) => [
    name,
    mib(rest?.pssMb),
    mib(rest?.rssMb),
    mib(after?.pssMb),
  ];
  const rows = Object.keys(memory).map((name) => row(name, memory[name], memoryAfterLoad[name]));
  const total = (of: Record<string, Memory>) =>
    Object.values(of).reduce((sum, one) => ({ pssMb: sum.pssMb + one.pssMb, rssMb: sum.rssMb + one.rssMb }), {
      pssMb: 0,
      rssMb: 0,
    });
  const peer = peerMemory ? [row("(portkey)", undefined, peerMemory)] : [];
  table(["process", "PSS", "RSS", "PSS after"], [...rows, row("sum", total(memory), total(memoryAfterLoad)), ...peer]);
}

function printHops(hops: readonly Hop[]): void {
  console.log("\nHops of a request, one caller, in ms: medians of the platform's own spans, which are being exported");
  const rows = hops.map(({ service, name, beginsMs, tookMs }) => [ms(beginsMs), ms(tookMs), service, name]);
  table(["begins", "took", "service", "span"], rows);
}

function printGrowth(points: readonly GrowthPoint[]): void {
  console.log("\nGrowth: the same load with more in ledger and log");
  const rows = points.map((point) => [
    String(point.requests),
    String(point.records),
    ms(point.cpuMs),
    ms(point.p50),
    point.requestsPerSecond.toFixed(0),
    mib(point.databaseMb),
    seconds(point.filledMs),
  ]);
  table(["requests", "records", "CPU ms/req", "p50 at 1", "req/s at 16", "database MiB", "filled in s"], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const isNumber = head.map((_, column) => rows.every((row) => /^[\d.-]*$/.test(row[column]!)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ");
  console.log(line(head));
  for (const row of rows) console.log(line(row));
}

const ms = (value: number) => (Number.isNaN(value) ? "-" : value.toFixed(2));
const mib = (value: number | undefined) => value?.toFixed(0) ?? "";
const seconds = (value: number) => (value / 1_000).toFixed(1);
