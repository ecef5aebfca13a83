/** Whole process trees: a service hangs with everything that it started, as a machine that stands still would. */
import { execFileSync } from "node:child_process";

/** `pid` and all its descendants. */
export function processTree(pid: number): number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  const children = new Map<number, number[]>();
  for (const line of lines) {
    const [child, parent] = line.trim().split(/\s+/).map(Number) as [number, number];
    children.set(parent, [...(children.get(parent) ?? []), child]);
  }
  const walk = (at: number): number[] => [at, ...(children.get(at) ?? []).flatMap(walk)];
  return walk(pid);
}

/** Stops the tree in its tracks. The result lets it go on; processes that ended meanwhile are passed over. */
export function freeze(pid: number): () => void {
  const pids = processTree(pid);
  for (const one of pids) signal(one, "SIGSTOP");
  return () => {
    for (const one of pids) signal(one, "SIGCONT");
  };
}

/**
 * Slows down what `pid` started (not itself) to about a fifth, until the result is called: the pilot model says a story in
 * a blink, and a fault has to hit the middle of it.
 */
export function brake(pid: number): () => void {
  const children = processTree(pid).slice(1);
  if (children.length === 0) throw new Error(`process ${pid} has no children to slow down`);
  let stopped = false;
  const turn = () => {
    stopped = !stopped;
    for (const child of children) signal(child, stopped ? "SIGSTOP" : "SIGCONT");
    timer = setTimeout(turn, stopped ? brakedMs : runningMs);
  };
  let timer = setTimeout(turn, 0);
  return () => {
    clearTimeout(timer);
    for (const child of children) signal(child, "SIGCONT");
  };
}
const brakedMs = 40;
const runningMs = 10;

export function isFrozen(pid: number): boolean {
  return execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).startsWith("T");
}

export function isAlive(pid: number): boolean {
  try {
    const state = execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
    return !state.startsWith("Z");
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Those of the processes whose command line matches: Postgres writes there what each of its processes is. */
export function processesNamed(pids: readonly number[], pattern: RegExp): number[] {
  const args = ["-o", "pid=,args=", "-p", pids.join(",")];
  const lines = execFileSync("ps", args, { encoding: "utf8" }).trim().split("\n");
  return lines.filter((line) => pattern.test(line)).map((line) => Number.parseInt(line, 10));
}
