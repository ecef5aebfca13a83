import { encodeEnvelopeJson, type Json, signState, type TrustBundle } from "@sallyport/attestation";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Bus } from "../src/bus/index.ts";
import { type Clock, systemClock } from "../src/clock.ts";
import { createLogger } from "../src/logger.ts";
import { putState, type WatchedState, watchState } from "../src/state.ts";
import { createTestTrust, startTestNats, type TestNats, waitFor } from "../testing/index.ts";

const log = createLogger("test", "error");
const keys = createTestTrust();
const strangers = createTestTrust();

let nats: TestNats;
let bus: Bus;
let state: WatchedState<string>;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await nats.bus("governance", log);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});
/** Each test begins on an empty bus. */
beforeEach(async () => {
  await nats.kill();
  nats.wipe();
  await nats.start();
  await nats.provision([]);
  await waitFor("the bus", () => bus.connected);
  state = watch();
});
afterEach(() => state[Symbol.asyncDispose]());

const decode = (value: Json) => {
  if (typeof value !== "string") throw new Error("not a string");
  return value;
};
const watch = (options: { trust?: TrustBundle; clock?: Clock } = {}) =>
  watchState({ bus, trust: keys.trust, bucket: "policy", key: "active", decode, clock: systemClock, log, ...options });

function signed(version: number, value: Json, options: { bucket?: string; by?: typeof keys } = {}): string {
  const { bucket = "policy", by = keys } = options;
  const issuedAt = new Date().toISOString();
  return encodeEnvelopeJson(signState(by.signer("state"), { bucket, key: "active", version, value, issuedAt }));
}
const put = (json: string) => putState(bus, "policy", "active", json);
const stale = () => {
  try {
    state.get();
    return false;
  } catch (error) {
    return (error as { reason?: string }).reason === "STATE_STALE";
  }
};

describe("watched state", () => {
  it("refuses until it has been read, and has a new value well within a second", async () => {
    await waitFor("a first read", () => stale());
    await put(signed(1, "one"));
    await waitFor("the first value", () => state.fresh);
    expect([state.get(), state.version]).toEqual(["one", 1]);
    const changes: [string, number][] = [];
    state.onChange((value, version) => changes.push([value, version]));
    const began = performance.now();
    await put(signed(2, "two"));
    await waitFor("the second value", () => state.get() === "two");
    expect(performance.now() - began).toBeLessThan(500);
    expect(changes).toEqual([["two", 2]]);
  });

  it.each([
    ["a lower version", () => signed(4, "rolled back")],
    ["another value of the same version", () => signed(5, "forked")],
    ["a value of another bucket", () => signed(6, "elsewhere", { bucket: "models" })],
    ["a value of a stranger's key", () => signed(6, "forged", { by: strangers })],
    ["a value that makes no sense", () => signed(6, { not: "a string" })],
    ["garbage", () => "garbage"],
  ])("does not take %s, and is stale after 3 s of it", async (_, make) => {
    await put(signed(5, "good"));
    await waitFor("the good value", () => state.fresh && state.get() === "good");
    await put(make());
    const began = performance.now();
    await waitFor("staleness", () => stale(), { timeoutMs: 6_000 });
    expect(performance.now() - began).toBeGreaterThan(1_500);
    expect(state.version).toBe(5);
    await put(signed(7, "better"));
    await waitFor("the better value", () => !stale() && state.get() === "better");
  });

  it("goes on confirming what it knows only while the trust bundle that vouches for it lasts, and is the same", async () => {
    let lateMs = 0;
    const clock = { now: () => new Date(Date.now() + lateMs) };
    let trust = keys.trust;
    const current = new Proxy({} as TrustBundle, { get: (_, name) => trust[name as keyof TrustBundle] });
    await state[Symbol.asyncDispose]();
    state = watch({ clock, trust: current });
    await put(signed(1, "one"));
    await waitFor("the value", () => state.fresh);
    lateMs = keys.trust.expiresAt.getTime() - Date.now() + 1_000;
    await waitFor("staleness", () => stale(), { timeoutMs: 6_000 });
    lateMs = 0;
    await waitFor("the value again", () => !stale(), { timeoutMs: 6_000 });
    trust = { ...keys.trust, version: keys.trust.version + 1, key: () => undefined };
    await waitFor("staleness", () => stale(), { timeoutMs: 6_000 });
  });

  it("is stale while the bus is away, and when it comes back empty, until the value is put again", async () => {
    const json = signed(1, "one");
    await put(json);
    await waitFor("the value", () => state.fresh);
    await nats.kill();
    expect(state.get()).toBe("one");
    await waitFor("staleness", () => stale(), { timeoutMs: 6_000 });
    nats.wipe();
    await nats.start();
    await nats.provision([]);
    await waitFor("the bus", () => bus.connected);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(stale()).toBe(true);
    await put(json);
    await waitFor("the value again", () => state.fresh);
    expect(state.get()).toBe("one");
  });
});
