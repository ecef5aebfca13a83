/** The benchmark's own processes, each with an IPC channel: they end with this one. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Load, Measured } from "./load-process.ts";

const folder = dirname(fileURLToPath(import.meta.url));
const startMs = 15_000;
const overtimeMs = 45_000;

export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

export interface LoadGenerator extends AsyncDisposable {
  readonly pid: number;
  measure(load: Load): Promise<Measured>;
}

export async function startModelServer(tokens: number, delayMs: number): Promise<Server> {
  const child = forkNode("model-server.ts", [String(tokens), String(delayMs)]);
  const { url } = await message<{ url: string }>(child, startMs);
  return { url, pid: child.pid!, [Symbol.asyncDispose]: () => end(child) };
}

export async function startLoadGenerator(): Promise<LoadGenerator> {
  const child = forkNode("load-process.ts", []);
  await message(child, startMs);
  return {
    pid: child.pid!,
    async measure(load) {
      const answer = message<Measured>(child, load.forMs + overtimeMs);
      child.send(load);
      return answer;
    },
    [Symbol.asyncDispose]: () => end(child),
  };
}

/** The peer: `@portkey-ai/gateway` as its package ships it, on loopback, without its console. */
export async function startPortkey(): Promise<Server> {
  const port = await freePort();
  const main = fileURLToPath(import.meta.resolve("@portkey-ai/gateway/build/start-server.js"));
  const home = mkdtempSync(join(tmpdir(), "sallyport-bench-peer-"));
  const child = spawn(
    process.execPath,
    ["--import", join(folder, "loopback-only.mjs"), main, `--port=${port}`, "--headless"],
    {
      cwd: home,
      env: { PATH: process.env.PATH, NODE_ENV: "production" },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    },
  );
  const url = `http://127.0.0.1:${port}`;
  const peer = {
    url,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      await end(child);
      rmSync(home, { recursive: true, force: true });
    },
  };
  for (const deadline = Date.now() + startMs; Date.now() < deadline; ) {
    if (
      await fetch(url).then(
        (response) => response.ok,
        () => false,
      )
    )
      return peer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await peer[Symbol.asyncDispose]();
  throw new Error("the peer did not start");
}

function forkNode(file: string, args: string[]): ChildProcess {
  return fork(join(folder, file), args, { execArgv: ["--disable-warning=ExperimentalWarning"] });
}

function message<Message>(child: ChildProcess, withinMs: number): Promise<Message> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      clearTimeout(timer);
      child.off("message", heard);
      child.off("exit", exited);
      then();
    };
    const heard = (value: unknown) => settle(() => resolve(value as Message));
    const exited = () => settle(() => reject(new Error("a process of the benchmark ended")));
    const timer = setTimeout(
      () => settle(() => reject(new Error("a process of the benchmark does not answer"))),
      withinMs,
    );
    child.once("message", heard);
    child.once("exit", exited);
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
