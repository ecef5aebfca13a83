// Shifts the wall clock of the one process that is started with `--import` of this file, by what the file that its query
// names says in milliseconds. Monotonic time (timers, performance.now) goes on, as when an operator sets a clock.
import { readFileSync } from "node:fs";

const file = new URL(import.meta.url).searchParams.get("file");
const readEveryMs = 100;
const System = Date;
let shiftMs = 0;

const now = () => System.now() + shiftMs;
globalThis.Date = new Proxy(System, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new System(now()).toString(),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});
System.prototype.constructor = globalThis.Date;

function read() {
  try {
    shiftMs = Number(readFileSync(file, "utf8")) || 0;
  } catch {
    shiftMs = 0;
  }
}
read();
setInterval(read, readEveryMs).unref();
