import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { REPOSITORY } from "../home.ts";
import { identify, isAlive, type ProcessId } from "../process/identity.ts";

const PORT_BASE = 27_300;
const START_TIMEOUT_MS = 180_000;
const SECOND_START_S = 10;
const patient = { timeoutMs: 60_000 };
const BOOTSTRAP = join(REPOSITORY, "infra", "local", "bootstrap.mjs");

let home: string;
let running: ChildProcess | undefined;

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "sallyport-start-"));
});
afterEach(async () => {
  if (!running || running.exitCode !== null || running.signalCode !== null) return;
  running.kill("SIGTERM");
  await new Promise((resolve) => running?.once("exit", resolve));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const env = () => ({ ...process.env, SALLYPORT_HOME: home });

/** `npm start`, without npm: resolves with what it printed once it says that it is up. */
function start(): Promise<{ output: string; seconds: number; exited: Promise<number | null> }> {
  const child = spawn("node", [BOOTSTRAP, "start", "--port-base", String(PORT_BASE)], {
    env: env(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running = child;
  let output = "";
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return new Promise((resolve, reject) => {
    const heard = (data: Buffer) => {
      output += data;
      const seconds = /Sallyport is up \(([\d.]+) s\)/.exec(output)?.[1];
      if (seconds && output.includes("Ctrl-C stops")) resolve({ output, seconds: Number(seconds), exited });
    };
    child.stdout.on("data", heard);
    child.stderr.on("data", heard);
    void exited.then((code) => reject(new Error(`ended with ${code}: ${output}`)));
  });
}

function command(...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile("node", [BOOTSTRAP, ...args], { env: env() }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}

function children(): ProcessId[] {
  return JSON.parse(readFileSync(join(home, "run", "children.json"), "utf8")) as ProcessId[];
}

async function ask(): Promise<string> {
  const { gatewayHttp } = JSON.parse(readFileSync(join(home, "endpoints.json"), "utf8")) as { gatewayHttp: string };
  const token = readFileSync(join(home, "credentials", "user.token"), "utf8");
  const response = await fetch(`${gatewayHttp}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "pilot-text", messages: [{ role: "user", content: "What is Sallyport?" }] }),
    signal: AbortSignal.timeout(60_000),
  });
  const body = await response.text();
  const { choices } = JSON.parse(body) as { choices?: { message: { content: string } }[] };
  return choices?.[0]?.message.content ?? `status ${response.status}: ${body}`;
}

describe("npm start", () => {
  test(
    "brings a new home up to an answered request; tells where things are, and no token; a second one is told so",
    async () => {
      const { output } = await start();
      expect(await ask()).toMatch(/Sallyport/);
      for (const name of ["user", "reviewer", "operator", "auditor"]) {
        const file = join(home, "credentials", `${name}.token`);
        expect(output).toContain(file);
        expect(statSync(file).mode & 0o777).toBe(0o600);
        expect(output).not.toContain(readFileSync(file, "utf8"));
      }
      expect(await command("start")).toMatchObject({ code: 2, output: expect.stringContaining("already runs") });
      expect((await command("status")).code).toBe(0);
    },
    START_TIMEOUT_MS,
  );

  test(
    "starts a second time on what it kept; a crashed service comes back and it is said; Ctrl-C leaves no process",
    async () => {
      const { seconds, exited } = await start();
      console.log(`second start: ${seconds} s, load ${loadavg()[0]?.toFixed(1)}`);
      // On a machine that does much else, the time says nothing.
      if (loadavg()[0]! < 2 * availableParallelism()) expect(seconds).toBeLessThan(SECOND_START_S);
      let said = "";
      running?.stdout?.on("data", (data) => {
        said += data;
      });
      const all = children();
      const door = all.find((child) => (child as ProcessId & { name: string }).name === "pre-moderator")!;
      process.kill(door.pid, "SIGKILL");
      await waitFor("the report", () => /pre-moderator was ended by SIGKILL; starting it again/.test(said), patient);
      await waitFor("an answer", async () => /Sallyport/.test(await ask()), patient);
      const before = children();
      running?.kill("SIGINT");
      expect(await exited).toBe(0);
      expect([...all, ...before].filter(isAlive)).toEqual([]);
      expect(existsSync(join(home, "run", "lock"))).toBe(false);
    },
    START_TIMEOUT_MS,
  );

  test(
    "takes its children with it when it is killed, and needs no repair afterwards",
    async () => {
      await start();
      const all = children();
      const runner = identify(Number(JSON.parse(readFileSync(join(home, "run", "lock"), "utf8")).pid))!;
      process.kill(runner.pid, "SIGKILL");
      await waitFor("their end", () => !all.some(isAlive), patient);
      await start();
      expect(await ask()).toMatch(/Sallyport/);
      expect(await command("stop")).toMatchObject({ code: 0 });
    },
    START_TIMEOUT_MS,
  );
});
