import { encodeEnvelopeJson, type Json, signState } from "@sallyport/attestation";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Bus, createLogger, putState, type WatchedSwitches, watchSwitches } from "../src/index.ts";
import { createTestTrust, startTestNats, type TestNats, waitFor } from "../testing/index.ts";

const log = createLogger("test", "error");
const keys = createTestTrust();
let nats: TestNats;
let bus: Bus;
let now = new Date();
let switches: WatchedSwitches;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await nats.bus("governance", log);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await emptyBus();
  now = new Date();
  switches = watchSwitches({ bus, trust: keys.trust, clock: { now: () => now }, log });
});
afterEach(() => switches[Symbol.asyncDispose]());

async function emptyBus() {
  await nats.kill();
  nats.wipe();
  await nats.start();
  await nats.provision([]);
  await waitFor("the bus", () => bus.connected);
}

const everything = { scope: "all" };
const pause = (id: string, target: Json = everything, more: object = {}) => ({ id, kind: "pause", target, ...more });

async function put(key: "active" | "break-glass", version: number, value: object, stage = stageOf(key)) {
  const state = { bucket: "switches", key, version, value: value as Json, issuedAt: new Date().toISOString() };
  await putState(bus, "switches", key, encodeEnvelopeJson(signState(keys.signer(stage), state)));
}
const stageOf = (key: string) => (key === "active" ? ("state" as const) : ("switch" as const));

const reason = (facts = { tenant: "acme", model: "m" }) => {
  try {
    switches.check(facts);
    return "none";
  } catch (error) {
    return (error as { reason?: string }).reason;
  }
};

test("nothing passes until governance's switches were read; the break-glass ones need not be there", async () => {
  expect(reason()).toBe("STATE_STALE");
  await put("active", 1, { switches: [] });
  await waitFor("the first read", () => switches.fresh);
  expect(reason()).toBe("none");
});

test("a pause holds within a tenth of a second of its put, for what it is about alone, and until its time", async () => {
  await put("active", 1, { switches: [] });
  await waitFor("the first read", () => switches.fresh);
  let told = 0;
  switches.onChange(() => (told += 1));
  const until = new Date(now.getTime() + 60_000).toISOString();
  await put("active", 2, { switches: [pause("1", { scope: "model", model: "m" }, { until })] });
  const began = performance.now();
  await waitFor("the pause", () => reason() === "PAUSED", { everyMs: 1 });
  console.log(`a put was heard after ${Math.round(performance.now() - began)} ms`);
  expect(told).toBe(1);
  expect(reason({ tenant: "acme", model: "other" })).toBe("none");
  now = new Date(Date.parse(until));
  expect(reason()).toBe("none");
});

test("break-glass switches hold without governance, outlive a bus that lost them, and end when governance lifts them", async () => {
  await put("active", 1, { switches: [] });
  await put("break-glass", 1, { switches: [pause("bg")] });
  await waitFor("the break-glass pause", () => reason() === "PAUSED");
  await emptyBus();
  await put("active", 1, { switches: [] });
  await waitFor("the bus to be read again", () => switches.fresh && reason() !== "STATE_STALE");
  expect(reason()).toBe("PAUSED");
  await put("active", 2, { switches: [], lifted: ["bg"] });
  await waitFor("the lifting", () => reason() === "none");
});

test("a break-glass value that makes no sense or that is older refuses everything", async () => {
  await put("active", 1, { switches: [] });
  await put("break-glass", 2, { switches: [] });
  await waitFor("the first read", () => switches.fresh);
  await put("break-glass", 1, { switches: [] });
  await waitFor("staleness", () => reason() === "STATE_STALE", { timeoutMs: 6_000 });
});

test("what the operator's key cannot take back is never taken in: the next value has room, and each switch can be lifted", async () => {
  await put("active", 1, { switches: [] });
  await waitFor("the first read", () => switches.fresh);
  for (const [version, id] of [
    [Number.MAX_SAFE_INTEGER, "bg"],
    [Date.now(), "i".repeat(129)],
  ] as const) {
    await put("break-glass", version, { switches: [pause(id)] });
    await waitFor("staleness", () => reason() === "STATE_STALE", { timeoutMs: 6_000 });
    now = new Date();
    await put("break-glass", now.getTime(), { switches: [pause("next")] });
    await waitFor("the next one", () => reason() === "PAUSED");
  }
});
