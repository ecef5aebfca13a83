/**
 * Promise P2: whatever is killed, whenever, every accepted request ends in exactly one terminal state, in ledger and log
 * alike; no audit record is lost; nobody has to repair anything.
 */
import { waitFor } from "@sallyport/runtime/testing";
import type { OpenedCheckpoint } from "@sallyport/tlog";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bootPlatform,
  chatByGrpc,
  freeze,
  grpcClients,
  type LedgerRow,
  query,
  readRequests,
  type TestPlatform,
} from "../kit/index.ts";
import { allReady, inject, parts, stateStored } from "./support/faults.ts";
import { Load } from "./support/load.ts";
import { AuditLog, byRequest, gaps, isTerminal, type LoggedRecord } from "./support/log.ts";

const seed = Number(process.env.SALLYPORT_TEST_SEED ?? Date.now() % 2 ** 31);
const callers = 10;
const wantedRequests = 200;
/** Accepted between two faults. */
const betweenFaults = 14;
const deadlineMs = 40_000;
const timeouts = { REQUEST_DEADLINE: "25s", STALL_TIMEOUT: "5s", DOOR1_DEADLINE: "2s", REDISPATCH_AFTER: "3s" };
const settleMs = 90_000;
const sampleSize = 24;

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
  load = new Load(sallyport, clients, seed, deadlineMs);
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
    for (const role of ["gateway", "governance", "audit"] as const) {
      await waitFor(`an empty outbox of ${role}`, () => outboxIsEmpty(role), { timeoutMs: settleMs, everyMs: 250 });
    }
  }, 400_000);

  describe("afterwards", () => {
    let rows: LedgerRow[];
    let records: LoggedRecord[];
    let after: OpenedCheckpoint;
    beforeAll(async () => {
      rows = await readRequests(sallyport.platform);
      records = await log.records();
      after = await log.checkpoint();
      const states = Object.groupBy(rows, ({ state }) => state);
      const counts = Object.fromEntries(Object.entries(states).map(([state, of]) => [state, of.length]));
      const summary = {
        calls: load.calls.length,
        accepted: load.accepted,
        ledger: rows.length,
        ...counts,
        records: records.length,
      };
      console.info("P2:", JSON.stringify(summary));
    }, 60_000);

    test("there were at least 200 requests, of every kind", () => {
      expect(rows.length).toBeGreaterThanOrEqual(wantedRequests);
      for (const state of ["released", "blocked", "held", "cancelled"]) {
        expect(rows.filter((row) => row.state === state).length, state).toBeGreaterThan(4);
      }
    });

    test("every id that a caller ever saw is in the ledger", () => {
      const known = new Set(rows.map(({ id }) => id));
      expect(load.calls.map(({ call }) => call.requestId).filter((id) => id !== undefined && !known.has(id))).toEqual(
        [],
      );
    });

    test("who asks again with the same key gets the request that was cut off, not a second one", () => {
      const repeated = load.calls.filter(
        ({ call, again }) => again?.requestId !== undefined && call.requestId !== undefined,
      );
      console.info("P2:", JSON.stringify({ repeated: repeated.length }));
      for (const { call, again } of repeated) expect(again!.requestId).toBe(call.requestId);
      for (const { again } of repeated) expect(again!.state ?? again!.error?.reason).toBeDefined();
    });

    test("what a caller was told is what the ledger says", () => {
      const ledger = new Map(rows.map((row) => [row.id, row.state]));
      const told = load.calls.flatMap(({ call, again }) => [call, ...(again ? [again] : [])]);
      const clear = told.filter(({ state }) => state !== undefined);
      expect(clear.length).toBeGreaterThan(wantedRequests / 2);
      for (const { requestId, state } of clear) expect(ledger.get(requestId!), requestId).toBe(state);
    });

    test("ledger and log know the same requests", () => {
      expect([...byRequest(records).keys()].toSorted()).toEqual(rows.map(({ id }) => id).toSorted());
    });

    test("every ended request has exactly one terminal record, the one that the ledger names; a held one has none yet", () => {
      const of = byRequest(records);
      for (const { id, state, leafHash } of rows) {
        const endings = of.get(id)!.filter(isTerminal);
        const expected = state === "held" ? [] : [{ event: `request.${state}`, leaf: leafHash }];
        expect(
          endings.map(({ event, leaf }) => ({ event, leaf })),
          `${id} (${state})`,
        ).toEqual(expected);
        if (state === "held")
          expect(
            of.get(id)!.some(({ event }) => event === "request.held"),
            id,
          ).toBe(true);
      }
    });

    test("whatever is held waits in the review queue", async () => {
      const { items } = await clients.reviews.listItems(
        { pageSize: 200 },
        { bearer: sallyport.token("reviewer"), deadlineMs: 10_000 },
      );
      const waiting = new Set(items.map(({ requestId }) => requestId));
      expect(rows.filter(({ id, state }) => state === "held" && !waiting.has(id))).toEqual([]);
    });

    test("every request was recorded when it came: accepted, held or blocked", () => {
      const first = new Set(["request.accepted", "request.held", "request.blocked"]);
      for (const [id, own] of byRequest(records)) {
        const accepted = own.filter(({ event }) => event === "request.accepted").length;
        expect(accepted, id).toBeLessThanOrEqual(1);
        expect(
          own.some(({ event }) => first.has(event)),
          id,
        ).toBe(true);
      }
    });

    test("no producer's numbering has a gap, and no place is taken twice", () => {
      expect(gaps(records)).toEqual([]);
      // Each killed producer came back under a new epoch.
      expect(
        new Set(records.filter(({ producer }) => producer === "gateway").map(({ epoch }) => epoch)).size,
      ).toBeGreaterThan(1);
    });

    test("the log signs exactly these records, holds all that it held before the faults, and proves it", async () => {
      expect(before.size).toBeLessThan(after.size);
      await log.verify(records, before, after);
      const step = Math.max(1, Math.floor(records.length / sampleSize));
      for (const record of records.filter((_, at) => at % step === 0)) await log.proveIncluded(record);
    }, 60_000);

    test("nothing waits for repair: the platform answers as on its first day", async () => {
      await allReady(sallyport.platform);
      const call = await chatByGrpc(
        sallyport,
        clients,
        { content: "What is Sallyport?", maxTokens: 24 },
        { deadlineMs },
      ).done;
      expect(call).toMatchObject({ state: "released", error: undefined });
    }, 60_000);
  });
});

/** Ended, or waiting for a person. */
function isSettled({ state, holdStage }: LedgerRow): boolean {
  return !["queued", "running"].includes(state) && !(state === "held" && holdStage === "collecting");
}

async function outboxIsEmpty(role: "gateway" | "governance" | "audit"): Promise<boolean> {
  const [row] = await query<{ waiting: string }>(sallyport.platform, role, "SELECT count(*) AS waiting FROM outbox");
  return Number(row!.waiting) === 0;
}
