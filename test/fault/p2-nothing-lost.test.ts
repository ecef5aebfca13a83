/**
 * Promise P2: whatever is killed, whenever, every accepted request ends in exactly one terminal state, in ledger and log
 * alike; no audit record is lost; nobody has to repair anything.
 */
import { waitFor } from "@sallyport/runtime/testing";
import type { OpenedCheckpoint } from "@sallyport/tlog";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, chatByGrpc, freeze, grpcClients, readRequests, type TestPlatform } from "../kit/index.ts";
import { check, isSettled } from "./checker/index.ts";
import { type Evidence, gather, outboxes } from "./support/evidence.ts";
import { allReady, inject, parts, stateStored } from "./support/faults.ts";
import { Load } from "./support/load.ts";
import { AuditLog } from "./support/log.ts";

const seed = Number(process.env.SALLYPORT_TEST_SEED ?? Date.now() % 2 ** 31);
const callers = 10;
const wantedRequests = 200;
/** Accepted between two faults. */
const betweenFaults = 14;
const deadlineMs = 40_000;
const timeouts = { REQUEST_DEADLINE: "25s", STALL_TIMEOUT: "5s", DOOR1_DEADLINE: "2s", REDISPATCH_AFTER: "3s" };
const settleMs = 90_000;

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let log: AuditLog;
let load: Load;
let before: OpenedCheckpoint;
beforeAll(async () => {
  console.info(`P2: SALLYPORT_TEST_SEED=${seed}`);
  sallyport = await bootPlatform("kills", { extraEnv: { gateway: timeouts } });
  clients = grpcClients(sallyport.platform);
  log = new AuditLog(sallyport, clients);
  load = new Load({ sallyport, clients, seed, deadlineMs });
}, 180_000);
afterAll(async () => {
  await load?.stop();
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 120_000);

/** Waits for work in flight, so that something is lost when the part goes. */
async function underLoad(more: number): Promise<void> {
  const goal = load.accepted + more;
  await waitFor(`${more} more requests`, () => load.accepted >= goal && load.inFlight >= 2, {
    timeoutMs: 90_000,
    everyMs: 5,
  });
}

describe("nothing is lost", () => {
  test("while the callers begin", async () => {
    load.start(callers);
    await underLoad(betweenFaults);
    before = await waitFor("a first checkpoint", async () => {
      const checkpoint = await log.checkpoint();
      return checkpoint.size > betweenFaults ? checkpoint : undefined;
    });
  }, 120_000);

  test.each(parts)(
    "when %s is killed, it comes back by itself",
    async (part) => {
      await underLoad(betweenFaults);
      const fault = inject(sallyport.platform, part, "killed");
      expect(load.inFlight).toBeGreaterThan(0);
      await fault.fired();
      await fault.undo();
      await allReady(sallyport.platform);
    },
    180_000,
  );

  test("when the bus loses everything it stored", async () => {
    await underLoad(betweenFaults);
    expect(load.inFlight).toBeGreaterThan(0);
    await sallyport.platform.nats.wipe();
    await allReady(sallyport.platform);
  }, 180_000);

  test("when the bus loses what the log and the review queue have not read yet", async () => {
    // The services trust what they know for 3 s more: governance must have put it back before it stands still.
    await stateStored(sallyport.platform);
    const readers = [sallyport.platform.service("audit"), sallyport.platform.service("governance")];
    const thaws = readers.map(({ pid }) => freeze(pid!));
    try {
      await underLoad(betweenFaults);
      await sallyport.platform.nats.wipe();
    } finally {
      for (const thaw of thaws) thaw();
    }
    await allReady(sallyport.platform);
  }, 180_000);

  test("and then everything comes to rest", async () => {
    await waitFor(`${wantedRequests} requests`, () => load.accepted >= wantedRequests, { timeoutMs: 120_000 });
    await load.stop();
    const settled = async () => (await readRequests(sallyport.platform)).every(isSettled);
    await waitFor("every request to have ended or to wait for a person", settled, {
      timeoutMs: settleMs,
      everyMs: 250,
    });
    const drained = async () => (await outboxes(sallyport)).length === 0;
    await waitFor("every outbox to be empty", drained, { timeoutMs: settleMs, everyMs: 250 });
  }, 400_000);

  describe("afterwards", () => {
    let evidence: Evidence;
    beforeAll(async () => {
      evidence = await gather({ sallyport, clients, log }, { calls: load.calls, before });
      const { rows, records } = evidence;
      const states = Object.groupBy(rows, ({ state }) => state);
      const counts = Object.fromEntries(Object.entries(states).map(([state, of]) => [state, of.length]));
      const sums = { calls: load.calls.length, accepted: load.accepted, ledger: rows.length, records: records.length };
      console.info("P2:", JSON.stringify({ ...sums, ...counts }));
    }, 120_000);

    test("there were at least 200 requests, of every kind", () => {
      const { rows } = evidence;
      expect(rows.length).toBeGreaterThanOrEqual(wantedRequests);
      for (const state of ["released", "blocked", "held", "cancelled"]) {
        expect(rows.filter((row) => row.state === state).length, state).toBeGreaterThan(4);
      }
      const told = load.calls.filter(({ call }) => call.state !== undefined);
      expect(told.length).toBeGreaterThan(wantedRequests / 2);
    });

    test("callers, ledger and log agree on every request, nothing is missing, and the log proves it", () => {
      expect(evidence.after.size).toBeGreaterThan(before.size);
      expect(check(evidence)).toEqual([]);
    });

    test("each killed producer came back under a new epoch", () => {
      const epochs = evidence.records.filter(({ producer }) => producer === "gateway").map(({ epoch }) => epoch);
      expect(new Set(epochs).size).toBeGreaterThan(1);
    });

    test("nothing waits for repair: the platform answers as on its first day", async () => {
      await allReady(sallyport.platform);
      const ask = { content: "What is Sallyport?", maxTokens: 24 };
      const call = await chatByGrpc(sallyport, clients, ask, { deadlineMs }).done;
      expect(call).toMatchObject({ state: "released", error: undefined });
    }, 60_000);
  });
});
