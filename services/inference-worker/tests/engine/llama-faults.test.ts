import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createLogger } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { describe, expect, test } from "vitest";
import { ModelFile } from "../../src/core/model-file.ts";
import { LlamaEngine } from "../../src/engine/llama/llama-engine.ts";
import { ask, collect, makeStore, startTinyEngine } from "../fixtures/tiny-engine.ts";
import { makeTinyModel } from "../fixtures/tiny-model.ts";

const never = new AbortController().signal;
const long = ask("hello", { maxTokens: 3_000 });
const context = { contextTokens: 4_096 };

describe("an engine process that fails", () => {
  test("killed mid-answer: every running attempt fails with ENGINE_CRASHED, and the next one works", async () => {
    await using tiny = await startTinyEngine({ contextTokens: 4_096 }, context);
    const control = await collect(tiny.engine.generate(ask("hello"), never));
    const pid = tiny.engine.pid!;
    let tokensSeen = 0;
    const watched = async () => {
      for await (const _ of tiny.engine.generate(long, never)) {
        tokensSeen += 1;
        if (tokensSeen === 20) process.kill(pid, "SIGKILL");
      }
    };
    const results = await Promise.allSettled([watched(), collect(tiny.engine.generate(long, never))]);
    expect(tokensSeen).toBeGreaterThanOrEqual(20);
    for (const result of results) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "ENGINE_CRASHED", retryable: true } });
    }
    expect((await collect(tiny.engine.generate(ask("hello"), never))).text).toBe(control.text);
    expect(tiny.engine.pid).not.toBe(pid);
  }, 60_000);

  test("stopped mid-answer: it is killed at the stall limit, the run fails with ENGINE_TIMEOUT, the next one works", async () => {
    await using tiny = await startTinyEngine({ contextTokens: 4_096 }, { ...context, stallTimeoutMs: 1_000 });
    const pid = tiny.engine.pid!;
    let stoppedAt = 0;
    const watched = async () => {
      for await (const _ of tiny.engine.generate(long, never)) {
        if (stoppedAt === 0) process.kill(pid, "SIGSTOP");
        stoppedAt ||= performance.now();
      }
    };
    await expect(watched()).rejects.toMatchObject({ code: "ENGINE_TIMEOUT", retryable: true });
    const waited = performance.now() - stoppedAt;
    expect(waited).toBeGreaterThan(900);
    expect(waited).toBeLessThan(5_000);
    expect((await collect(tiny.engine.generate(ask("hello"), never))).tokens).toBe(24);
    expect(() => process.kill(pid, 0)).toThrow();
  }, 60_000);

  test("stopped while idle: a cancelled run does not wait for it, and it is replaced all the same", async () => {
    await using tiny = await startTinyEngine({}, { stallTimeoutMs: 1_000 });
    const pid = tiny.engine.pid!;
    process.kill(pid, "SIGSTOP");
    const run = collect(tiny.engine.generate(ask("hello"), AbortSignal.timeout(100)));
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
    await waitFor("a new engine process", () => tiny.engine.ready && tiny.engine.pid !== pid, { timeoutMs: 20_000 });
  }, 60_000);

  test("more runs than sequences wait their turn, and waiting does not look like standing still", async () => {
    const limits = { ...context, sequences: 1, stallTimeoutMs: 800 };
    await using tiny = await startTinyEngine({ contextTokens: 4_096 }, limits);
    const pid = tiny.engine.pid;
    const request = ask("hello", { maxTokens: 1_500 });
    const cancelled = collect(tiny.engine.generate(request, AbortSignal.timeout(150)));
    const runs = Array.from({ length: 4 }, () => collect(tiny.engine.generate(request, never)));
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    const startedAt = performance.now();
    for (const { tokens } of await Promise.all(runs)) expect(tokens).toBe(1_500);
    expect(performance.now() - startedAt).toBeGreaterThan(limits.stallTimeoutMs);
    expect(tiny.engine.pid).toBe(pid);
  }, 60_000);

  test("unload ends the process, also a stopped one", async () => {
    const tiny = await startTinyEngine();
    const pid = tiny.engine.pid!;
    process.kill(pid, "SIGSTOP");
    await tiny[Symbol.asyncDispose]();
    expect(() => process.kill(pid, 0)).toThrow();
  }, 60_000);
});

describe("what the engine process is given", () => {
  test.runIf(process.platform === "linux")(
    "its environment has nothing of the worker's",
    async () => {
      process.env.SALLYPORT_TEST_SECRET = "not for the engine";
      await using tiny = await startTinyEngine();
      const environment = readFileSync(`/proc/${tiny.engine.pid}/environ`, "utf8").split("\0").filter(Boolean);
      delete process.env.SALLYPORT_TEST_SECRET;
      const names = environment.map((entry) => entry.split("=")[0]);
      expect(names.filter((name) => !name!.startsWith("NODE_CHANNEL_"))).toEqual([]);
      const command = readFileSync(`/proc/${tiny.engine.pid}/cmdline`, "utf8").split("\0").filter(Boolean);
      expect(command).toHaveLength(2);
    },
    60_000,
  );
});

describe("only the approved file runs", () => {
  const engineOf = (path: string, digest: string) => {
    const file = new ModelFile(path, digest);
    return new LlamaEngine({
      load: { modelPath: path, contextTokens: 512, sequences: 1, threads: 1, batchTokens: 128 },
      startupTimeoutMs: 30_000,
      stallTimeoutMs: 10_000,
      readyTimeoutMs: 1_000,
      restart: { baseMs: 10, maxMs: 50 },
      verifyFile: () => file.verify(),
      log: createLogger("inference-worker", "error"),
    });
  };

  test("a file with another digest is not loaded", async () => {
    using store = makeStore();
    const bytes = readFileSync(store.path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(store.path, bytes);
    const engine = engineOf(store.path, store.digest);
    await expect(engine.load(never)).rejects.toMatchObject({ code: "MODEL_UNUSABLE" });
    expect(engine.ready).toBe(false);
  });

  test("a file that is swapped after loading is noticed before the next run", async () => {
    await using tiny = await startTinyEngine();
    await collect(tiny.engine.generate(ask("hello"), never));
    writeFileSync(`${tiny.store.path}.new`, makeTinyModel({ seed: 2 }));
    renameSync(`${tiny.store.path}.new`, tiny.store.path);
    const run = collect(tiny.engine.generate(ask("hello"), never));
    await expect(run).rejects.toMatchObject({ code: "MODEL_UNUSABLE" });
  }, 60_000);

  test("what is no model at all is refused with a reason, and the worker lives", async () => {
    using store = makeStore();
    const engine = engineOf(store.path, store.digest);
    writeFileSync(store.path, makeTinyModel().subarray(0, 5_000));
    const file = new ModelFile(store.path, store.digest);
    await expect(file.verify()).rejects.toMatchObject({ code: "MODEL_UNUSABLE" });
    await expect(engine.load(never)).rejects.toMatchObject({ code: "MODEL_UNUSABLE" });
  });
});
