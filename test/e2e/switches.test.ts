/**
 * Promise P8 on a running platform: with streams in flight, how long it takes from a pause to the last byte that anybody
 * gets and to the first refusal. What was measured is printed.
 */
import { SwitchKind } from "@sallyport/proto/sallyport/governance/v1/switches";
import type { AppError } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { breakGlass } from "../kit/break-glass.ts";
import {
  bootPlatform,
  type Call,
  type ChatServer,
  chatByGrpc,
  chatBySse,
  connectAs,
  freeze,
  grpcClients,
  Intruder,
  readRequests,
  serveSlowModel,
  slowModel,
  slowStory,
  startSlowServer,
  type TestPlatform,
} from "../kit/index.ts";

const streams = 12;
const runs = 3;
const call = { deadlineMs: 20_000 };
const why = "An exercise of the kill switch, measured.";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let chamber: ChatServer;
beforeAll(async () => {
  chamber = await startSlowServer();
  sallyport = await bootPlatform("switches", {
    remoteEndpoints: { [slowModel]: chamber.url },
    extraEnv: {
      gateway: { REQUEST_DEADLINE: "60s" },
      "inference-worker": { ENGINE_SEQUENCES: String(streams) },
    },
  });
  clients = grpcClients(sallyport.platform);
  await serveSlowModel(sallyport, clients);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await chamber?.[Symbol.asyncDispose]();
}, 60_000);

const as = (person: "operator" | "approver" | "reviewer") => ({ bearer: sallyport.token(person), deadlineMs: 10_000 });
const pause = async (expiresInSeconds = 0n) => {
  const target = { target: { case: "model" as const, value: slowModel } };
  const asked = { target, kind: SwitchKind.PAUSE, justification: why, expiresInSeconds };
  return (await clients.switches.pause(asked, as("operator"))).switch!;
};
async function resume(switchId: string): Promise<void> {
  await clients.switches.resume({ switchId, justification: why }, as("operator"));
  await clients.switches.resume({ switchId, justification: why }, as("approver"));
}

/** Half by gRPC and half by server-sent events, with their first windows out, and the rest still to come. */
async function telling(): Promise<Call[]> {
  const calls = Array.from({ length: streams }, (_, at) =>
    at % 2 === 0 ? chatByGrpc(sallyport, clients, slowStory, call) : chatBySse(sallyport, slowStory, call),
  );
  await Promise.all(calls.map((one) => one.firstWindow()));
  expect(calls.filter(({ ended }) => !ended).length).toBe(streams);
  return calls;
}

/** Asks until it is refused; when that was. */
async function firstRefusal(reason: string): Promise<number> {
  await waitFor("a refusal", async () => (await reasonOfNext()) === reason, { timeoutMs: 10_000, everyMs: 5 });
  return performance.now();
}
/** Of a call that goes away as soon as it is let in: undefined. */
const reasonOfNext = async (): Promise<string | undefined> => {
  const gone = new AbortController();
  const asked = chatByGrpc(sallyport, clients, slowStory, { deadlineMs: 3_000, signal: gone.signal });
  await waitFor("an answer", () => asked.ended || asked.windows.length > 0, { everyMs: 2 });
  gone.abort();
  return asked.windows.length > 0 ? undefined : asked.error?.reason;
};

interface Measured {
  lastWindowMs: number;
  allEndedMs: number;
  refusedMs: number;
}

/** Since `since`: the last window of any stream, the end of all, and the first refusal. */
async function measure(calls: readonly Call[], since: number, refused: Promise<number>): Promise<Measured> {
  const refusedAt = await refused;
  await Promise.all(calls.map(({ done }) => done));
  const latest = (pick: (one: Call) => number) => Math.round(Math.max(...calls.map(pick)) - since);
  return {
    lastWindowMs: latest(({ lastWindowAt }) => lastWindowAt),
    allEndedMs: latest(({ endedAt }) => endedAt),
    refusedMs: Math.round(refusedAt - since),
  };
}

const endedAs = (calls: readonly Call[]) =>
  new Set(calls.map(({ error, via }) => `${via} ${error?.code} ${error?.reason.toUpperCase()}`));
const typed = (code: string, reason: string) => new Set([`grpc ${code} ${reason}`, `sse ${code} ${reason}`]);

async function inLedger(calls: readonly Call[], state: string, code: string): Promise<void> {
  await waitFor("the ledger", async () => {
    const rows = await readRequests(sallyport.platform);
    return calls.every(({ requestId }) =>
      rows.some((row) => row.id === requestId && row.state === state && row.code === code),
    );
  });
}

describe("with streams in flight", () => {
  test("a pause ends all of them and refuses the next call within a second of its reply; two persons resume", async () => {
    for (let run = 0; run < runs; run += 1) {
      const calls = await telling();
      const asked = performance.now();
      const { id } = await pause();
      const replied = performance.now();
      const measured = await measure(calls, replied, firstRefusal("PAUSED"));
      console.log(`pause: replied after ${Math.round(replied - asked)} ms; since the reply`, measured);
      expect(Math.max(measured.lastWindowMs, measured.allEndedMs, measured.refusedMs)).toBeLessThan(1_000);
      expect(endedAs(calls)).toEqual(typed("UNAVAILABLE", "PAUSED"));
      await inLedger(calls, "cancelled", "PAUSED");
      const { headers, status } = await sallyport.http("/v1/chat/completions", {
        body: { model: slowModel, messages: [{ role: "user", content: "Hello." }] },
      });
      expect([status, headers.get("x-should-retry")]).toEqual([503, "false"]);
      await resume(id);
      await waitFor("an answer again", async () => (await reasonOfNext()) === undefined);
    }
  }, 180_000);

  test("one person alone does not resume, and an expired pause needs nobody", async () => {
    const { id } = await pause(3n);
    await firstRefusal("PAUSED");
    await clients.switches.resume({ switchId: id, justification: why }, as("operator"));
    const again = clients.switches.resume({ switchId: id, justification: why }, as("operator"));
    await expect(again).rejects.toBeInstanceOf(Error);
    expect(await reasonOfNext()).toBe("PAUSED");
    await waitFor("the pause to expire", async () => (await reasonOfNext()) === undefined, { timeoutMs: 10_000 });
  });

  test("break-glass works with governance gone, and two persons lift it when it is back", async () => {
    const governance = sallyport.platform.service("governance");
    for (let run = 0; run < runs; run += 1) {
      const calls = await telling();
      await governance.stop();
      const asked = performance.now();
      const id = crypto.randomUUID();
      await breakGlass(sallyport.platform, [{ id, kind: "pause", target: { scope: "all" } }]);
      const measured = await measure(calls, asked, firstRefusal("PAUSED"));
      console.log("break-glass, since it was asked for", measured);
      expect(Math.max(measured.lastWindowMs, measured.allEndedMs, measured.refusedMs)).toBeLessThan(1_000);
      expect(endedAs(calls)).toEqual(typed("UNAVAILABLE", "PAUSED"));
      await governance.start();
      await governance.whenReady();
      await waitFor("governance to adopt it", async () => {
        const { switches } = await clients.switches.listSwitches({}, as("operator")).catch(() => ({ switches: [] }));
        return switches.some((one) => one.id === id && one.breakGlass);
      });
      await resume(id);
      await waitFor("an answer again", async () => (await reasonOfNext()) === undefined);
    }
  }, 180_000);

  test.each(["frozen", "killed"])(
    "a bus that is %s ends all of them and refuses the next call within 5 s",
    async (how) => {
      const { nats } = sallyport.platform;
      const calls = await telling();
      const since = performance.now();
      const thaw = how === "frozen" ? freeze(nats.pid!) : () => {};
      const stopped = how === "killed" ? nats.stop() : undefined;
      const measured = await measure(calls, since, firstRefusal("STATE_STALE"));
      thaw();
      await stopped;
      if (how === "killed") await nats.start();
      console.log(`bus ${how}, since then`, measured);
      expect(Math.max(measured.lastWindowMs, measured.allEndedMs, measured.refusedMs)).toBeLessThan(5_000);
      expect(endedAs(calls)).toEqual(typed("UNAVAILABLE", "STATE_STALE"));
      await waitFor("an answer again", async () => (await reasonOfNext()) === undefined, { timeoutMs: 30_000 });
      // None is lost: each goes on, and ends in the ledger.
      await waitFor(
        "their ends",
        async () => {
          const rows = await readRequests(sallyport.platform);
          return calls.every(({ requestId }) => rows.some((row) => row.id === requestId && row.endedAt !== null));
        },
        { timeoutMs: 70_000 },
      );
    },
    150_000,
  );
});

test("a banned identity is refused by name, everybody else is answered", async () => {
  const me = await whoAmI();
  const target = { target: { case: "identity" as const, value: me } };
  const asked = { target, kind: SwitchKind.BAN, justification: why, expiresInSeconds: 0n };
  const { switch: ban } = await clients.switches.pause(asked, as("operator"));
  await waitFor("the ban", async () => (await reasonOfNext()) === "BANNED");
  const receipts = clients.generation.listModels({}, { bearer: sallyport.token("user"), deadlineMs: 5_000 });
  await expect(receipts).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
    reason: "BANNED",
  } satisfies Partial<AppError>);
  const other = chatByGrpc(sallyport, clients, { content: "Hello.", maxTokens: 8, person: "outsider" }, call);
  expect((await other.done).state).toBe("released");
  await resume(ban!.id);
  await waitFor("an answer again", async () => (await reasonOfNext()) === undefined);
});

test("an intruder with governance's bus credentials, but not its key, lifts nothing with a value of yesterday", async () => {
  await using reader = await connectAs(sallyport.platform, "governance");
  await using intruder = await Intruder.as("governance", sallyport.platform);
  const active = "$KV.switches.active";
  const yesterday = (await reader.ask(`$JS.API.DIRECT.GET.KV_switches.${active}`)) as object;
  const { id } = await pause();
  await firstRefusal("PAUSED");
  const seen = new Set<string>();
  const until = performance.now() + 2_500;
  while (performance.now() < until) {
    await intruder.putBytes(active, JSON.stringify(yesterday));
    seen.add((await reasonOfNext()) ?? "answered");
  }
  // Refused as paused, or because nobody knows any more: never answered.
  expect([...seen].filter((reason) => reason !== "PAUSED" && reason !== "STATE_STALE")).toEqual([]);
  await waitFor("governance's value again", async () => (await reasonOfNext()) === "PAUSED", { timeoutMs: 15_000 });
  await resume(id);
  await waitFor("an answer again", async () => (await reasonOfNext()) === undefined, { timeoutMs: 15_000 });
}, 60_000);

async function whoAmI() {
  const { iss, sub, tenant } = JSON.parse(
    Buffer.from(sallyport.token("user").split(".")[1]!, "base64url").toString(),
  ) as Record<string, string>;
  return { issuer: iss!, subject: sub!, tenant: tenant! };
}
