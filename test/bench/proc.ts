/** What Linux says about processes: memory and processor time of whole trees, and of the machine. */
import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { processTree } from "../kit/processes.ts";

export interface Memory {
  /** Proportional set size: shared pages are counted once over all processes. MiB. */
  readonly pssMb: number;
  /** MiB. */
  readonly rssMb: number;
}

/** Of a process and all its descendants, or of itself alone. */
export function memoryOf(pid: number, withChildren = true): Memory {
  const sum = { pssMb: 0, rssMb: 0 };
  for (const one of withChildren ? processTree(pid) : [pid]) {
    const text = read(`/proc/${one}/smaps_rollup`);
    sum.pssMb += kib(text, "Pss") / 1024;
    sum.rssMb += kib(text, "Rss") / 1024;
  }
  return sum;
}

function kib(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
}

const ticksPerSecond = 100;

/** Processor time of a tree so far, descendants that have ended included; milliseconds. */
export function cpuMsOf(pid: number): number {
  let ticks = 0;
  for (const one of processTree(pid)) {
    // Behind the name, which may hold anything: state is field 3, utime to cstime are fields 14 to 17.
    const fields = read(`/proc/${one}/stat`).split(") ").at(-1)!.split(" ");
    for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return (ticks * 1_000) / ticksPerSecond;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  /** Load average of the last minute, before anything was started. */
  readonly loadBefore: number;
  readonly processes: number;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: `${process.platform} ${release()}`,
    node: process.version,
    loadBefore: loadavg()[0]!,
    processes: readdirSync("/proc").filter((name) => /^\d+$/.test(name)).length,
  };
}
