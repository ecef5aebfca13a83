/** How the platform is after a campaign: up, never restarted, without an internal error in its logs, and no larger. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { expect } from "vitest";
import { model, type TestPlatform } from "../../kit/index.ts";

const inspectorOf = (base: number, service: ServiceName) => base + services.indexOf(service);

/** Environment by which each service can be asked for its memory after a forced collection (see `memoryOf`). */
export function inspectable(base: number) {
  const entries = services.map((service) => [
    service,
    { NODE_OPTIONS: `--inspect-port=127.0.0.1:${inspectorOf(base, service)}` },
  ]);
  return Object.fromEntries(entries) as Record<ServiceName, Record<string, string>>;
}

export interface Memory {
  /** Of the JavaScript heap after a full collection, with what buffers hold outside it. */
  readonly heapMb: number;
  readonly rssMb: number;
}

/** Asks over Node's inspector, which SIGUSR1 opens: a heap that has just been collected holds only what is still in use. */
export async function memoryOf({ platform }: TestPlatform, base: number): Promise<Map<ServiceName, Memory>> {
  const found = new Map<ServiceName, Memory>();
  for (const service of services) {
    process.kill(platform.service(service).pid!, "SIGUSR1");
    found.set(service, await collected(inspectorOf(base, service)));
  }
  return found;
}

async function collected(port: number): Promise<Memory> {
  const list = await waitFor("the inspector", async () => (await fetch(`http://127.0.0.1:${port}/json/list`)).json());
  const socket = new WebSocket((list as { webSocketDebuggerUrl: string }[])[0]!.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const ask = (id: number, method: string, params: object = {}) =>
    new Promise<{ result: { result: { value: string } } }>((resolve) => {
      const hear = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data));
        if (answer.id !== id) return;
        socket.removeEventListener("message", hear);
        resolve(answer);
      };
      socket.addEventListener("message", hear);
      socket.send(JSON.stringify({ id, method, params }));
    });
  for (const id of [1, 2, 3]) {
    await ask(id, "HeapProfiler.collectGarbage");
    // Finalisers run in turns of the event loop.
    await sleep(30);
  }
  const expression = "JSON.stringify(process.memoryUsage())";
  const { heapUsed, external, rss } = JSON.parse(
    (await ask(9, "Runtime.evaluate", { expression })).result.result.value,
  );
  socket.close();
  return { heapMb: (heapUsed + external) / 1e6, rssMb: rss / 1e6 };
}

/** Log lines that tell of bad input by others, at a level that wakes an operator: the alert on dead letters, and the like. */
const tellsOfOthers = (line: LogLine) =>
  (line.msg === "a message failed for good" && line.reason !== "INTERNAL") || line.msg === "run refused";

interface LogLine {
  level?: string;
  msg?: string;
  code?: string;
  reason?: string;
  err?: { code?: string };
}

/** Each service's log lines of level error, and of a lower one that calls something INTERNAL or knows no code for it. */
function alarms({ platform }: TestPlatform, expected: (line: LogLine) => boolean): string[] {
  return services.flatMap((service) => {
    const lines = readFileSync(platform.service(service).logFile, "utf8")
      .split("\n")
      .filter((line) => line !== "");
    return lines.filter((line) => isAlarm(line, expected)).map((line) => `${service}: ${line.slice(0, 1_500)}`);
  });
}

function isAlarm(text: string, expected: (line: LogLine) => boolean): boolean {
  let line: LogLine;
  try {
    line = JSON.parse(text);
  } catch {
    // What is no JSON was written by no logger of ours.
    return true;
  }
  if (expected(line)) return false;
  const { level, msg, code, err } = line;
  return (
    level === "error" || code === "INTERNAL" || err?.code === "INTERNAL" || (msg === "a message failed" && !err?.code)
  );
}

/** Green on every port, never started again, and an ordinary question has its answer. */
export async function expectSound(sallyport: TestPlatform): Promise<void> {
  const { platform } = sallyport;
  for (const service of services) {
    const at = platform.endpoints.health[service];
    const ready = await waitFor(`${service} to be ready`, async () => (await fetch(`${at}/readyz`)).ok, {
      timeoutMs: 20_000,
    });
    expect({ service, ready, live: (await fetch(`${at}/livez`)).status }).toEqual({ service, ready: true, live: 200 });
  }
  expect(services.filter((service) => platform.service(service).restarts > 0)).toEqual([]);
  expect(alarms(sallyport, tellsOfOthers).slice(0, 10)).toEqual([]);
  const response = await sallyport.http("/v1/chat/completions", {
    body: { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 8 },
  });
  expect({ status: response.status, body: await response.json() }).toMatchObject({
    status: 200,
    body: { object: "chat.completion" },
  });
}
