import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@sallyport/runtime/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { identify, isAlive, type ProcessId } from "../process/identity.ts";
import { HomeInUse, sweepStaleChildren, takeLock } from "../process/lock.ts";
import { openLogFile } from "../process/log-file.ts";
import type { ProcessSpec } from "../process/supervised.ts";
import { Supervisor } from "../process/supervisor.ts";

let dir: string;
let reports: string[];
let supervisor: Supervisor;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "sallyport-supervisor-"));
  reports = [];
  supervisor = await open();
});
afterEach(async () => {
  await supervisor.stop();
  rmSync(dir, { recursive: true, force: true });
});

function open(): Promise<Supervisor> {
  const report = (line: string) => reports.push(line);
  return Supervisor.open({ logsDir: dir, childrenFile: join(dir, "children.json"), report });
}

function spec(name: string, script: string, change: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    name,
    command: process.execPath,
    args: ["-e", script],
    env: { PATH: process.env.PATH },
    ipc: false,
    stopSignal: "SIGTERM",
    stopTimeoutMs: 1_000,
    readyTimeoutMs: 5_000,
    ready: async () => readFileSync(join(dir, `${name}.jsonl`), "utf8").includes("up"),
    ...change,
  };
}

const patient = { timeoutMs: 15_000 };
const idle = "console.log('up'); setInterval(() => {}, 1000)";

describe("a supervised child", () => {
  test("that is killed is started again, and it is said", async () => {
    const child = supervisor.add(spec("one", idle));
    await child.start();
    const before = child.pid;
    child.kill("SIGKILL");
    await waitFor("another pid", () => child.pid !== undefined && child.pid !== before, patient);
    expect(reports.join()).toMatch(/one was ended by SIGKILL; starting it again in 0\.25 s/);
    expect(child.restarts).toBe(1);
  });

  test("that was stopped stays down until it is started", async () => {
    const child = supervisor.add(spec("one", idle));
    await child.start();
    await child.stop();
    expect(child.pid).toBeUndefined();
    await child.start();
    expect(child.pid).toBeDefined();
  });

  test("whoever stops it has it stopped, also when somebody else is starting it again at that moment", async () => {
    const child = supervisor.add(spec("one", idle));
    await child.start();
    const before = child.pid;
    await Promise.all([child.stop(), child.restart()]);
    expect(child.pid).toBeUndefined();
    await child.start();
    await Promise.all([child.restart(), child.stop()]);
    expect(child.pid).toBeUndefined();
    await child.start();
    await child.restart();
    expect(child.pid).toBeDefined();
    expect(child.pid).not.toBe(before);
  });

  test("that ignores SIGTERM is killed after its time, with what it started itself", async () => {
    const script = `const { pid } = require("node:child_process").spawn("sleep", ["60"]); process.on("SIGTERM", () => {}); console.log("up", pid); setInterval(() => {}, 1000)`;
    const child = supervisor.add(spec("stubborn", script, { stopTimeoutMs: 300 }));
    await child.start();
    const grandchild = Number(/up (\d+)/.exec(readFileSync(join(dir, "stubborn.jsonl"), "utf8"))?.[1]);
    const id = identify(grandchild) as ProcessId;
    await child.stop();
    await waitFor("the grandchild's end", () => !isAlive(id), patient);
    expect(reports.join()).toMatch(/stubborn did not stop within 0\.3 s: killed/);
  });

  test("that is held by SIGSTOP is stopped all the same", async () => {
    const child = supervisor.add(spec("held", idle));
    await child.start();
    child.kill("SIGSTOP");
    await child.stop();
    expect(child.pid).toBeUndefined();
  });

  test("that never comes up fails its start, with its last words", async () => {
    const child = supervisor.add(
      spec("broken", "console.error('no such setting'); process.exit(3)", { ready: async () => false }),
    );
    await expect(child.start()).rejects.toThrow(/ended with exit code 3[\s\S]*no such setting/);
    expect(child.pid).toBeUndefined();
  });

  test("its output becomes JSON lines", async () => {
    const child = supervisor.add(spec("talks", `console.log('{"level":"warn","msg":"json"}'); ${idle}`));
    await child.start();
    const lines = readFileSync(join(dir, "talks.jsonl"), "utf8").trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(["json", "up"]);
  });
});

describe("no orphans", () => {
  const runner = (body: string) => {
    const url = new URL("../process/supervisor.ts", import.meta.url);
    const script = `
      import { Supervisor } from ${JSON.stringify(url.pathname)};
      const supervisor = await Supervisor.open({ logsDir: ${JSON.stringify(dir)}, childrenFile: ${JSON.stringify(join(dir, "theirs.json"))}, report: () => {} });
      const child = supervisor.add({ name: "child", command: process.execPath, args: ["-e", ${JSON.stringify(idle)}], env: {}, ipc: false,
        stopSignal: "SIGTERM", stopTimeoutMs: 1000, readyTimeoutMs: 5000, ready: async () => true });
      await child.start();
      console.log(child.pid);
      ${body}`;
    const file = join(dir, "runner.ts");
    writeFileSync(file, script);
    return spawn(process.execPath, ["--disable-warning=ExperimentalWarning", file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  };
  const childOf = async (process: ReturnType<typeof runner>) => {
    const pid = await new Promise<number>((resolve) => process.stdout!.once("data", (data) => resolve(Number(data))));
    return identify(pid) as ProcessId;
  };

  test("a runner that is killed with SIGKILL takes its children with it", async () => {
    const process = runner("setInterval(() => {}, 1000)");
    const child = await childOf(process);
    expect(isAlive(child)).toBe(true);
    process.kill("SIGKILL");
    await waitFor("the child's end", () => !isAlive(child), patient);
  });

  test("what even that missed is ended by the next start, and only that", async () => {
    const [left, other] = [spawn("sleep", ["60"], { detached: true }), spawn("sleep", ["60"], { detached: true })];
    const [leftId, otherId] = [identify(left.pid!), identify(other.pid!)] as [ProcessId, ProcessId];
    const reused = { ...otherId, started: "another start time" };
    const file = join(dir, "stale.json");
    writeFileSync(
      file,
      JSON.stringify([
        { name: "left", ...leftId },
        { name: "other", ...reused },
      ]),
    );
    expect(await sweepStaleChildren(file)).toEqual(["left"]);
    expect(isAlive(leftId)).toBe(false);
    expect(isAlive(otherId)).toBe(true);
    other.kill("SIGKILL");
  });
});

describe("one runner a home", () => {
  test("a second one is told of the first; a lock whose process is gone is taken over", () => {
    const file = join(dir, "run", "lock");
    const release = takeLock(file, dir);
    expect(() => takeLock(file, dir)).toThrow(HomeInUse);
    release();
    writeFileSync(file, JSON.stringify({ pid: process.pid, started: "before this process" }));
    const again = takeLock(file, dir);
    expect(() => takeLock(file, dir)).toThrow(/already runs/);
    again();
  });
});

test("log files are bounded: old lines move on, the oldest go", () => {
  const path = join(dir, "big.jsonl");
  const log = openLogFile(path, "big");
  const line = JSON.stringify({ msg: "x".repeat(60_000) });
  for (let i = 0; i < 900; i++) log.line(line);
  log.close();
  for (const file of [path, `${path}.1`, `${path}.2`, `${path}.3`])
    expect(statSync(file).size).toBeLessThanOrEqual(10 * 1024 * 1024);
  expect(statSync(`${path}.4`, { throwIfNoEntry: false })).toBeUndefined();
});
