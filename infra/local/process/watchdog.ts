// Ends the children when the runner is gone, whatever way it went (kill -9 too): its end of this process's stdin closes
// then. Told of children by lines `+<pid> <start time>` and `-<pid>`; `.` means that the runner stopped them itself.
import { createInterface } from "node:readline";
import { isAlive, type ProcessId, signalGroup } from "./identity.ts";

const GRACE_MS = 8_000;
const POLL_MS = 100;

const children = new Map<number, ProcessId>();

// The runner decides when to stop: a signal to the group of the terminal is not for this process.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const [, sign, pid, started] = /^([+-])(\d+) ?(.*)$/.exec(line) ?? [];
  if (sign === "+") children.set(Number(pid), { pid: Number(pid), started: started! });
  else if (sign === "-") children.delete(Number(pid));
  else if (line === ".") process.exit(0);
}

const left = () => [...children.values()].filter(isAlive);
for (const { pid } of left()) signalGroup(pid, "SIGTERM");
for (const end = Date.now() + GRACE_MS; left().length > 0 && Date.now() < end; ) {
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
for (const { pid } of left()) signalGroup(pid, "SIGKILL");
