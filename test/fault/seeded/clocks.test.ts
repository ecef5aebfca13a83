import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { prepareClocks } from "./clocks.ts";

const program = `setInterval(() => console.log(JSON.stringify([Date.now(), new Date().getTime(), Date.parse(Date()),
  new Date(0).getTime(), new Date(5) instanceof Date, performance.now()])), 50)`;

test("a service's wall clock can be set wrong while it runs, and right again; its monotonic clock goes on", async () => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-clock-test-"));
  const clocks = prepareClocks(dir);
  const env = { PATH: process.env.PATH, ...clocks.extraEnv.audit };
  const child = spawn(process.execPath, ["-e", program], { env, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let last = 0;
    /** Resolves once each of the ways to ask is off by this much. */
    const offBy = async (shiftMs: number) => {
      for (;;) {
        const [now, fromNew, fromText, epoch, isDate, monotonic] = JSON.parse((await lines.next()).value as string);
        expect([epoch, isDate]).toEqual([0, true]);
        expect(monotonic).toBeGreaterThan(last);
        expect(monotonic - last).toBeLessThan(30_000);
        last = monotonic;
        const off = [now, fromNew, fromText].map((time) => Math.abs(time - Date.now() - shiftMs));
        if (off.every((difference) => difference < 20_000)) return;
      }
    };
    await offBy(0);
    const right = clocks.shift("audit", -7_200_000);
    await offBy(-7_200_000);
    right();
    await offBy(0);
    clocks.shift("audit", 300_000);
    await offBy(300_000);
  } finally {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
}, 30_000);
