/** Quotas on real Postgres, counted by two gateways at once: never one too many, and nothing lost of what is given back. */
import type { QuotaRule } from "@sallyport/policy";
import { waitFor } from "@sallyport/runtime/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { clearCounters, findLeftovers } from "../src/db/quotas.ts";
import { ann } from "./fixtures/calls.ts";
import { attempt, openReplicas, type Replicas, record, usedOf } from "./fixtures/quotas.ts";

let replicas: Replicas;

beforeEach(async () => {
  replicas = await openReplicas();
});

afterEach(() => replicas[Symbol.asyncDispose]());

const tally = (outcomes: readonly { outcome: string }[]) => {
  const counts: Record<string, number> = {};
  for (const { outcome } of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
};
const granted = <T extends { outcome: string }>(outcomes: readonly T[]) =>
  outcomes.filter(({ outcome }) => outcome === "granted");

describe("a rate limit is not exceeded under concurrency", () => {
  test("of 10,000 attempts at once through two gateways exactly the limit is granted, and what is refused costs nothing", async () => {
    const { db, gateways } = replicas;
    const rules: QuotaRule[] = [{ name: "daily", per: "identity", requestsPerDay: 4_321 }];
    const all = Array.from({ length: 10_000 }, (_, number) => attempt(gateways[number % 2]!, { rules }));
    const outcomes = await Promise.all(all);
    expect(tally(outcomes)).toEqual({ granted: 4_321, QUOTA_EXHAUSTED: 5_679 });
    expect((await usedOf(db))[0]).toBe(4_321);
  }, 60_000);

  test("tokens and what is at work are held to their limits as exactly as requests", async () => {
    const { gateways } = replicas;
    const tokens: QuotaRule[] = [{ name: "tokens", per: "tenant", tokensPerDay: 1_000 }];
    const spend = (number: number) => attempt(gateways[number % 2]!, { rules: tokens, take: { tokens: 7, images: 0 } });
    const outcomes = await Promise.all(Array.from({ length: 500 }, (_, number) => spend(number)));
    expect(tally(outcomes)).toEqual({ granted: 142, QUOTA_EXHAUSTED: 358 });
    const atWork: QuotaRule[] = [{ name: "at-work", per: "identity", concurrency: 5 }];
    const working = Array.from({ length: 200 }, (_, number) => attempt(gateways[number % 2]!, { rules: atWork }));
    expect(tally(await Promise.all(working))).toEqual({ granted: 5, CONCURRENCY_LIMIT: 195 });
  });

  test("calls that share some counters and not others neither deadlock nor count for each other", async () => {
    const { gateways } = replicas;
    const rules: QuotaRule[] = [
      { name: "each", per: "identity", requestsPerDay: 30 },
      { name: "all", per: "tenant", requestsPerDay: 250 },
      { name: "model", per: "model", requestsPerDay: 100 },
    ];
    const people = Array.from({ length: 12 }, (_, number) => ({ ...ann, subject: `p${number}` }));
    const calls = people.flatMap((identity, person) =>
      Array.from({ length: 60 }, (_, number) =>
        attempt(gateways[number % 2]!, { rules, identity, model: `m${(person + number) % 4}` }).then((made) => ({
          ...made,
          person,
        })),
      ),
    );
    const passed = granted(await Promise.all(calls));
    expect(passed).toHaveLength(250);
    for (const person of people.keys()) {
      expect(passed.filter((made) => made.person === person).length).toBeLessThanOrEqual(30);
    }
  });
});

describe("what is given back can be used again", () => {
  const rules: QuotaRule[] = [
    { name: "all", per: "identity", requestsPerDay: 200, tokensPerDay: 10_000, concurrency: 30 },
  ];

  test("whatever becomes of requests, in any order, with killed gateways and cut connections, counters end as what was used", async () => {
    const { db, gateways, cut } = replicas;
    const seed = Date.now() % 1_000_000;
    const random = mulberry(seed);
    const expected = { requests: 0, tokens: 0 };
    const unsettled: string[] = [];
    const live = async (round: number) => {
      const made = await attempt(gateways[round % 2]!, { rules, take: { tokens: 50, images: 0 } });
      if (random() < 0.03) await cut();
      if (made.outcome !== "granted") return;
      const fate = random();
      const settleBy = gateways[random() < 0.5 ? 0 : 1]!;
      if (fate < 0.3) settleBy.settle(made.id);
      else if (fate < 0.5) await record(db, made.id, "failed", null);
      else {
        const tokens = Math.floor(random() * 60);
        await record(db, made.id, "released", tokens);
        expected.requests += 1;
        // The engine's count is not believed beyond what was reserved.
        expected.tokens += Math.min(tokens, 50);
      }
      // A killed gateway settles nothing, one that was told twice settles once.
      if (fate >= 0.3 && random() < 0.3) unsettled.push(made.id);
      else for (let times = random() < 0.3 ? 2 : 1; times > 0; times -= 1) settleBy.settle(made.id);
    };
    const lane = async (first: number) => {
      for (let round = 0; round < 12; round += 1) await live(first + round);
    };
    await Promise.all(Array.from({ length: 40 }, (_, first) => lane(first)));
    await db.query("UPDATE quota_reservations SET created_at = now() - interval '1 minute'");
    await waitFor(`the leftovers of seed ${seed} to be settled`, async () => {
      for (const id of await findLeftovers(db, 30_000, 1_000)) gateways[0].settle(id);
      return (await db.query("SELECT 1 FROM quota_reservations")).rowCount === 0;
    });
    const used = await usedOf(db);
    expect({ seed, requests: used[0], tokens: used[1], atWork: used[6] }).toEqual({ seed, ...expected, atWork: 0 });
    expect(unsettled.length).toBeGreaterThan(0);
  }, 60_000);

  test("what waits for a person is charged, and takes no place among what is at work", async () => {
    const { db, gateways } = replicas;
    const { id } = await attempt(gateways[0], { rules, take: { tokens: 10, images: 0 } });
    await record(db, id, "held", null);
    gateways[0].settle(id);
    gateways[1].settle(id);
    await waitFor("its place to be free", async () => (await usedOf(db))[6] === 0);
    expect(await usedOf(db)).toEqual([1, 10, 0, 1, 10, 0, 0]);
    await record(db, id, "failed", null);
    gateways[1].settle(id);
    await waitFor("it to be given back", async () => (await usedOf(db))[0] === 0);
    expect(await usedOf(db)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  test("what has no row in the ledger is charged only when it is said so", async () => {
    const { db, gateways } = replicas;
    const kept = await attempt(gateways[0], { rules });
    const given = await attempt(gateways[0], { rules });
    gateways[0].settle(kept.id, true);
    gateways[0].settle(given.id);
    await waitFor("both to be settled", async () => (await usedOf(db))[6] === 0);
    expect((await usedOf(db))[0]).toBe(1);
  });

  test("one after the other with a place for one: each finds the place of the last one free", async () => {
    const [gateway] = replicas.gateways;
    const one: QuotaRule[] = [{ name: "one", per: "identity", concurrency: 1 }];
    for (let round = 0; round < 50; round += 1) {
      const { id, outcome } = await attempt(gateway, { rules: one });
      expect(outcome).toBe("granted");
      gateway.settle(id);
    }
  });
});

describe("windows", () => {
  const rules: QuotaRule[] = [
    { name: "w", per: "identity", requestsPerDay: 5, requestsPerMinute: 3, concurrency: 100 },
  ];
  /** As if all that was counted had been counted so much earlier. */
  const age = async (by: string) => {
    const sql = (table: string) =>
      `UPDATE ${table} SET minute = minute - $1::interval, day = date_trunc('day', minute - $1::interval, 'UTC')`;
    for (const table of ["quota_counters", "quota_reservations"]) await replicas.db.query(sql(table), [by]);
  };
  const tries = async (count: number) =>
    tally(await Promise.all(Array.from({ length: count }, () => attempt(replicas.gateways[0], { rules }))));

  test("a new minute begins empty, the day goes on, and a new day begins empty", async () => {
    expect(await tries(4)).toEqual({ granted: 3, RATE_LIMITED: 1 });
    const sql = "UPDATE quota_counters SET minute = minute - interval '1 minute'";
    await replicas.db.query(sql);
    expect(await tries(4)).toEqual({ granted: 2, QUOTA_EXHAUSTED: 2 });
    await age("1 day");
    expect(await tries(4)).toEqual({ granted: 3, RATE_LIMITED: 1 });
    expect((await usedOf(replicas.db)).slice(0, 4)).toEqual([3, 0, 0, 3]);
  });

  test("what was counted in a window that is over is not given back to the next one", async () => {
    const { db, gateways } = replicas;
    const early = await attempt(gateways[0], { rules });
    await age("1 day");
    await attempt(gateways[0], { rules });
    gateways[0].settle(early.id);
    await waitFor("its place to be free", async () => (await usedOf(db))[6] === 1);
    expect(await usedOf(db)).toEqual([1, 0, 0, 1, 0, 0, 1]);
  });

  test("a database clock that steps back a little opens no window again, one that was far off does not last", async () => {
    await tries(3);
    await age("-1 minute");
    expect(await tries(1)).toEqual({ RATE_LIMITED: 1 });
    await age("-3 days");
    expect(await tries(1)).toEqual({ granted: 1 });
  });

  test("counters that nobody uses any more are cleared away, those in use are not", async () => {
    const { db, gateways } = replicas;
    const { id } = await attempt(gateways[0], { rules });
    await age("5 days");
    await clearCounters(db, 100);
    expect(await usedOf(db)).toHaveLength(7);
    gateways[0].settle(id);
    await waitFor("it to be settled", async () => (await usedOf(db))[6] === 0);
    await age("5 days");
    await clearCounters(db, 100);
    expect((await db.query("SELECT 1 FROM quota_counters")).rowCount).toBe(0);
    expect(await tries(1)).toEqual({ granted: 1 });
  });

  test("a counter that was only just made is not cleared away before it is used", async () => {
    const { db, gateways } = replicas;
    const clearing = new AbortController();
    const clear = (async () => {
      while (!clearing.signal.aborted) await clearCounters(db, 100);
    })();
    const people = Array.from({ length: 100 }, (_, number) => ({ ...ann, subject: `new-${number}` }));
    const calls = people.map((identity, number) => attempt(gateways[number % 2]!, { rules, identity }));
    expect(tally(await Promise.all(calls))).toEqual({ granted: 100 });
    clearing.abort();
    await clear;
  });
});

/** A small seeded generator (mulberry32). */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
