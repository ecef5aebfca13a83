import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { waitFor } from "../testing/index.ts";

const script = fileURLToPath(new URL("./lifecycle-service.ts", import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

interface Running {
  child: ChildProcess;
  output: () => string;
  /** Resolves with exit code, or the signal's name. */
  ended: Promise<number | string>;
}

function start(
  behaviour: string,
  { env = {}, ipc = false }: { env?: Record<string, string>; ipc?: boolean } = {},
): Running {
  const child = spawn(process.execPath, [script, behaviour], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "pipe", ...(ipc ? (["ipc"] as const) : [])],
  });
  children.push(child);
  let text = "";
  child.stdout!.on("data", (chunk) => {
    text += chunk;
  });
  child.stderr!.on("data", (chunk) => {
    text += chunk;
  });
  // Not `close`: it does not come after disconnect().
  const ended = once(child, "exit").then(([code, signal]) => code ?? signal);
  return { child, output: () => text, ended };
}

async function started(behaviour: string, options = {}): Promise<Running> {
  const running = start(behaviour, options);
  await waitFor("the start", () => running.output().includes('"started"'));
  return running;
}

test.each(["SIGTERM", "SIGINT"] as const)("%s disposes of the service and exits with 0", async (signal) => {
  const { child, output, ended } = await started("good");
  child.kill(signal);
  expect(await ended).toBe(0);
  await waitFor("its last words", () => output().includes('"disposed"'));
});

test("a stop while starting is no fault", async () => {
  const { child, output, ended } = start("slow-start");
  await waitFor("the service to begin", () => output().includes('"beginning"'));
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
});

test.each(["cannot-start", "fails", "rejects"])("%s: the fault is logged and the exit code is 1", async (behaviour) => {
  const { output, ended } = start(behaviour);
  expect(await ended).toBe(1);
  await waitFor("its last words", () => /"stopped"/.test(output()));
  expect(output()).toMatch(/no database|bus gone|nobody caught this/);
});

test("an invalid LOG_LEVEL is a fault, not a default", async () => {
  const { output, ended } = start("good", { env: { LOG_LEVEL: "loud" } });
  expect(await ended).toBe(1);
  await waitFor("its last words", () => /"stopped"/.test(output()));
  expect(output()).toContain("LOG_LEVEL must be one of");
});

test("a service that cannot close, or does not in time, exits with 1", async () => {
  for (const behaviour of ["breaks", "hangs"]) {
    const { child, ended } = await started(behaviour);
    child.kill("SIGTERM");
    expect(await ended).toBe(1);
  }
});

test("a second signal ends it at once", async () => {
  const { child, output, ended } = await started("hangs");
  child.kill("SIGTERM");
  await waitFor("the first signal", () => output().includes('"stopping"'));
  child.kill("SIGTERM");
  expect(await ended).toBe(1);
  await waitFor("its last words", () => output().includes("second signal"));
});

test("when its parent is gone it stops by itself: IPC channel or, on request, stdin", async () => {
  const withIpc = await started("good", { ipc: true });
  withIpc.child.disconnect();
  expect(await withIpc.ended).toBe(0);
  const withStdin = await started("good", { env: { SALLYPORT_PARENT_STDIN: "1" } });
  withStdin.child.stdin!.end();
  expect(await withStdin.ended).toBe(0);
});
