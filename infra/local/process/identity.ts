import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A running process, told apart from a later one that got the same pid by its start time. */
export interface ProcessId {
  readonly pid: number;
  readonly started: string;
}

/** The process with this pid, or undefined when there is none (or it is a zombie that waits for its parent). */
export function identify(pid: number): ProcessId | undefined {
  const started = process.platform === "linux" ? linuxStart(pid) : otherStart(pid);
  return started === undefined ? undefined : { pid, started };
}

export function isAlive(id: ProcessId): boolean {
  return identify(id.pid)?.started === id.started;
}

/**
 * Signals the process group that this process leads. It holds also once the leader is gone: while a member is left, no
 * other group can have its number. False when nothing was there.
 */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** proc(5): field 3 of stat is the state, field 22 the start time in clock ticks since boot; the name may hold spaces. */
function linuxStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function otherStart(pid: number): string | undefined {
  try {
    return (
      execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8", stdio: "pipe" }).trim() || undefined
    );
  } catch {
    return undefined;
  }
}
