import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { freePort, waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Platform, startPlatform } from "./fixtures/platform.ts";
import { approve, finished, makeRequest, submit, windowsOf } from "./fixtures/requests.ts";
import { makeStore, type TinyStore } from "./fixtures/tiny-engine.ts";

const name = "tiny";
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
let platform: Platform;
let store: TinyStore;
let worker: ChildProcess | undefined;
beforeAll(async () => {
  platform = await startPlatform();
  store = makeStore({ contextTokens: 4_096 });
  await approve(platform, [{ name, digest: store.digest, contextTokens: 4_096 }]);
}, 60_000);
afterAll(async () => {
  worker?.kill("SIGKILL");
  await platform?.[Symbol.asyncDispose]();
  store?.[Symbol.dispose]();
});

/** The service as it is deployed: its own process. Resolves with the process id of its engine, once it is ready. */
async function start(): Promise<{ port: number; enginePid: number }> {
  const port = await freePort();
  const env = { ...platform.env, MODEL_STORE_DIR: store.storeDir, HEALTH_ADDRESS: `127.0.0.1:${port}` };
  let output = "";
  worker = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "inherit"] });
  worker.stdout?.on("data", (bytes) => (output += String(bytes)));
  const ready = () => /"pid":(\d+),.*"engine ready"/.exec(output)?.[1];
  const enginePid = Number(await waitFor("the engine", ready, { timeoutMs: 30_000 }));
  const url = `http://127.0.0.1:${port}/readyz`;
  await waitFor("the worker", async () => (await fetch(url)).status === 200);
  return { port, enginePid };
}

const request = (maxTokens: number) =>
  makeRequest(platform, { model: name, modelDigest: store.digest, parameters: { maxTokens } });

test("as a process it answers, counts, and ends with code 0 on SIGTERM", async () => {
  const { port, enginePid } = await start();
  const { job } = await request(20);
  await submit(platform, job);
  expect((await finished(platform, job.requestId)).at(-1)?.body.case).toBe("content");
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toMatch(/sallyport_worker_runs_total\{outcome="done",component="inference-worker"\} 1\n/);
  expect(metrics).toMatch(/sallyport_worker_tokens_total\{model="[^"]+",component="inference-worker"\} 20\n/);
  worker!.kill("SIGTERM");
  const [code] = await once(worker!, "exit");
  expect(code).toBe(0);
  expect(alive(enginePid)).toBe(false);
}, 60_000);

test("killed mid-answer it takes its engine along, and the next worker does not run the job again", async () => {
  const { enginePid } = await start();
  const { job } = await request(3_500);
  await submit(platform, job);
  await waitFor("the first windows", async () => (await windowsOf(platform, job.requestId)).length > 3);
  worker!.kill("SIGKILL");
  await waitFor("the engine to end", () => !alive(enginePid));
  await start();
  // Delivered again once the acknowledgement is overdue.
  const messages = await finished(platform, job.requestId, 30_000);
  expect(messages.at(-1)?.body.value).toMatchObject({ code: "ATTEMPT_LOST", retryable: true });
  expect(new Set(messages.map(({ runId }) => runId)).size).toBe(2);
  worker!.kill("SIGTERM");
  await once(worker!, "exit");
}, 90_000);

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
