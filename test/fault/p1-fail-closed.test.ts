/**
 * Promise P1: whatever part fails, and however, while answers are on their way: no byte that door 2 did not allow reaches a
 * caller, and every caller gets a typed error or a whole answer in time.
 */
import { errorCodes } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bootPlatform,
  brake,
  type Call,
  chatByGrpc,
  chatBySse,
  grpcClients,
  portsOf,
  readRequests,
  startProxy,
  type TcpProxy,
  type TestPlatform,
} from "../kit/index.ts";
import { errors, prepare } from "./support/errors.ts";
import { allReady, type Fault, inject, modes, offPath, parts } from "./support/faults.ts";
import { holdAgainstLedger } from "./support/leaks.ts";

const story = { content: "Tell me a long story about the sea.", maxTokens: 400 };
const denied = { content: "Say the block phrase." };
const short = { content: "What is Sallyport?", maxTokens: 24 };

/** Everything has to be over by then: answers, and errors too. */
const deadlineMs = 15_000;
const graceMs = 2_000;
const timeouts = { REQUEST_DEADLINE: "10s", STALL_TIMEOUT: "4s", DOOR1_DEADLINE: "1500ms", REDISPATCH_AFTER: "2s" };

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
/** Between the watermarker and the bus. */
let watermarkerBus: TcpProxy;
/**
 * The most that a denied stream released before its marker: how much it is depends on how the text was cut into windows,
 * and what a slow bus kept waiting goes out as one.
 */
let beforeMarker = "";
const total = { faults: 0, calls: 0, heard: 0, leaked: 0, answered: 0, refused: 0 };

beforeAll(async () => {
  watermarkerBus = await startProxy(portsOf("fault").nats);
  sallyport = await bootPlatform("fault", {
    extraEnv: {
      gateway: timeouts,
      "inference-worker": { ENGINE_SEQUENCES: "6", ENGINE_STALL_TIMEOUT: "3s" },
      watermarker: { NATS_URL: `tls://127.0.0.1:${watermarkerBus.port}` },
    },
  });
  clients = grpcClients(sallyport.platform);
}, 180_000);
afterAll(async () => {
  console.info("P1:", JSON.stringify(total));
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await watermarkerBus?.[Symbol.asyncDispose]();
}, 60_000);

const byGrpc = (ask: typeof short | typeof denied) => chatByGrpc(sallyport, clients, ask, { deadlineMs });
const bySse = (ask: typeof short | typeof denied) => chatBySse(sallyport, ask, { deadlineMs });

/** An allowed request is answered whole, a denied one is stopped where it must be: refusing everything does not pass. */
async function control(): Promise<void> {
  const [allowed, stopped] = await Promise.all([byGrpc(short).done, bySse(denied).done]);
  expect(allowed).toMatchObject({ state: "released", error: undefined });
  expect(allowed.text.length).toBeGreaterThan(10);
  expect(stopped.error).toMatchObject({ reason: "TEST_BLOCK" });
  expect(stopped.text.length).toBeGreaterThan(0);
  expectBeforeMarker(stopped);
  await everythingCovered([allowed, stopped]);
}

/** Whatever was said of the denied answer is the same text, up to the marker at most. */
function expectBeforeMarker({ text }: Call): void {
  const [shorter, longer] = text.length < beforeMarker.length ? [text, beforeMarker] : [beforeMarker, text];
  expect(longer.startsWith(shorter), `"${shorter}" begins "${longer}"`).toBe(true);
  expect(longer).not.toContain("SALLYPORT-BLOCK");
  beforeMarker = longer;
}

async function everythingCovered(calls: readonly Call[]): Promise<void> {
  for (const call of calls) {
    const { heard, leaked } = await holdAgainstLedger(sallyport.platform, call);
    total.calls += 1;
    total.heard += heard;
    total.leaked += leaked;
    expect(leaked, `bytes without a ticket, by ${call.via}: ${call.requestId}`).toBe(0);
  }
}

/** Two stories that are being told, and a stream that door 2 will stop. */
async function startStreams() {
  const stories = [byGrpc(story), bySse(story)];
  await Promise.all(stories.map((call) => call.firstWindow()));
  return { stories, stopped: byGrpc(denied) };
}

function expectAnswered(call: Call, part: string): void {
  expect(call.tookMs, "bounded").toBeLessThan(deadlineMs + graceMs);
  if (call.error === undefined) {
    total.answered += 1;
    expect(call.state).toBe("released");
    return;
  }
  total.refused += 1;
  expect([...errorCodes], JSON.stringify(call.error)).toContain(call.error.code);
  // The gateway itself, when it is what failed, can say nothing; otherwise the platform speaks, not the connection.
  if (part === "gateway") return;
  expect(call.error.reason).not.toMatch(/CONNECTION_LOST|CALLER_GAVE_UP|NO_OUTCOME/);
  // A ledger whose tables fail is a fault that no code foresees.
  if (part !== "ledger fails") expect(call.error.code, JSON.stringify(call.error)).not.toBe("INTERNAL");
}

async function failWhileStreaming(part: string, begin: () => Promise<() => Fault>): Promise<void> {
  const { platform } = sallyport;
  await control();
  const fail = await begin();
  const letGo = brake(platform.service("inference-worker").pid!);
  const { stories, stopped } = await startStreams().catch((error) => {
    letGo();
    throw error;
  });
  const asking = byGrpc(short);

  letGo();
  const fault = fail();
  const midStream = stories.map((call) => ({ windows: call.windows.length > 0, ended: call.ended }));
  const midRequest = !asking.ended;
  const late = [byGrpc(short), bySse(short)];
  await fault.fired();
  expect({ midStream, midRequest }).toEqual({
    midStream: Array(2).fill({ windows: true, ended: false }),
    midRequest: true,
  });
  total.faults += 1;

  const calls = [...stories, stopped, asking, ...late];
  await Promise.all(calls.map((call) => call.done));
  await fault.undo();
  await allReady(platform);

  for (const call of calls) expectAnswered(call, part);
  for (const call of calls) expect(call.text).not.toContain("SALLYPORT-BLOCK");
  expectBeforeMarker(stopped);
  await everythingCovered(calls);
  if (offPath.includes(part))
    for (const { state, error } of [...stories, asking])
      expect({ state, error }).toEqual({ state: "released", error: undefined });
  await control();
}

const cases = parts.flatMap((part) => modes.map((mode) => ({ part, mode })));
describe("no byte gets out unreviewed, and everybody gets an answer in time", () => {
  test.each(cases)(
    "while $part is $mode",
    async ({ part, mode }) => {
      await failWhileStreaming(part, async () => () => inject(sallyport.platform, part, mode));
    },
    120_000,
  );

  test.each(errors)(
    "while the %s",
    async (error) => {
      await failWhileStreaming(error, () => prepare(sallyport.platform, error));
    },
    120_000,
  );

  // It has no tables and no engine: what makes it answer with errors is to be without its signed state.
  test("while the watermarker is off the bus", async () => {
    await failWhileStreaming("watermarker is off the bus", async () => () => {
      const heal = watermarkerBus.cut();
      const health = sallyport.platform.endpoints.health.watermarker!;
      const ready = async () => (await fetch(`${health}/readyz`)).status;
      return {
        fired: async () => void (await waitFor("it to say that it is not ready", async () => (await ready()) === 503)),
        undo: async () => heal(),
      };
    });
  }, 120_000);

  test("and of all that was heard in all these faults, nothing had leaked", () => {
    expect(total).toMatchObject({ faults: cases.length + errors.length + 1, leaked: 0 });
    expect(total.heard).toBeGreaterThan(10_000);
    expect(total.answered).toBeGreaterThan(0);
    expect(total.refused).toBeGreaterThan(0);
  });
});

test("nothing is left running in the ledger", async () => {
  const live = async () => (await readRequests(sallyport.platform)).filter(({ endedAt }) => endedAt === null);
  await waitFor("every request to have ended", async () => (await live()).length === 0, { timeoutMs: 20_000 });
});
