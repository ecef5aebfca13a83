/** What requests take of their quotas, and what becomes of it, on a real gateway with real Postgres and a real bus. */
import { randomUUID } from "node:crypto";
import type { QuotaRule } from "@sallyport/policy";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { admit } from "../src/core/admit.ts";
import { cancel } from "../src/core/cancel.ts";
import { moderate } from "../src/core/moderate.ts";
import { settleQuotas } from "../src/core/reconciler.ts";
import { QuotaError } from "../src/domain/quota-report.ts";
import { ann, beginChat, callOf, Listener, rowOf } from "./fixtures/calls.ts";
import { type Gateway, type Platform, startPlatform } from "./fixtures/platform.ts";
import { usedOf } from "./fixtures/quotas.ts";
import { Attempt } from "./fixtures/words.ts";

let platform: Platform;
let gateway: Gateway;
beforeAll(async () => {
  platform = await startPlatform();
  gateway = await platform.startGateway({ STALL_TIMEOUT: "600s" });
}, 120_000);
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

const everything: QuotaRule = {
  name: "all",
  per: "tenant",
  requestsPerDay: 1_000,
  tokensPerDay: 100_000,
  concurrency: 100,
};

/** These rules alone, and nothing counted yet. */
async function limit(...rules: QuotaRule[]): Promise<void> {
  const { policy, db } = gateway.context;
  await db.query("TRUNCATE quota_counters, quota_reservations");
  await platform.limit(rules);
  const wanted = JSON.stringify(rules);
  await waitFor("the quotas in force", () => policy.fresh && JSON.stringify(policy.get().settings.quotas) === wanted);
}

/** Requests and tokens of the day, and how many are at work. */
async function used() {
  const [requests, tokens, , , , , atWork] = await usedOf(gateway.context.db);
  return { requests, tokens, atWork };
}

const settled = (expected: object) =>
  waitFor(`${JSON.stringify(expected)} to be what was used`, async () => {
    const now = (await used()) as Record<string, number>;
    return Object.entries(expected).every(([key, value]) => now[key] === value);
  });

describe("a request is charged for what it used, and for nothing when it was refused or failed", () => {
  beforeEach(() => limit(everything));

  test("while it runs it takes its prompt and the longest answer it may get; once released what the engine counted", async () => {
    const [listener, words] = await beginChat(platform, gateway.context, "hello");
    // The prompt's length by three, and 512 tokens are more than the model's context of 512.
    expect(await used()).toEqual({ requests: 1, tokens: 512, atWork: 1 });
    for (const verdict of [words.started(), words.window("One."), words.window("", true)]) await words.say(verdict);
    await listener.done;
    await settled({ requests: 1, tokens: 3, atWork: 0 });
  });

  test("what door 1 denies costs nothing; what it holds for a person takes no place", async () => {
    await admit(gateway.context, callOf("deny"));
    await settled({ requests: 0, tokens: 0, atWork: 0 });
    await admit(gateway.context, callOf("hold"));
    await settled({ requests: 1, tokens: 512, atWork: 0 });
  });

  test("without door 1 nothing is accepted and nothing is kept", async () => {
    platform.judge.state.down = true;
    try {
      await expect(admit(gateway.context, callOf("hello"))).rejects.toMatchObject({ reason: "DOOR1_UNAVAILABLE" });
    } finally {
      platform.judge.state.down = false;
    }
    await settled({ requests: 0, tokens: 0, atWork: 0 });
  });

  test("what fails before anything was released is given back; what was released of an answer is not", async () => {
    const [failed, first] = await beginChat(platform, gateway.context);
    for (const verdict of [first.started(), first.failed("ENGINE_CRASHED", false)]) await first.say(verdict);
    await failed.done;
    await settled({ requests: 0, tokens: 0, atWork: 0 });
    const [cut, second] = await beginChat(platform, gateway.context, "x".repeat(300));
    for (const verdict of [second.started(), second.window("One."), second.failed("ENGINE_CRASHED", false)])
      await second.say(verdict);
    await cut.done;
    await settled({ requests: 1, atWork: 0 });
    const { tokens } = await used();
    expect(tokens).toBeGreaterThan(100);
    expect(tokens).toBeLessThan(200);
  });

  test("what its caller cancels is charged from the moment that a run was begun", async () => {
    const [waiting] = await beginChat(platform, gateway.context);
    await cancel(gateway.context, waiting.id, "CANCELLED");
    await settled({ requests: 0, tokens: 0, atWork: 0 });
    const [running, words] = await beginChat(platform, gateway.context);
    await words.say(words.started());
    await waitFor("the run", async () => (await rowOf(gateway.context, running.id))?.state === "running");
    await cancel(gateway.context, running.id, "CANCELLED");
    await settled({ requests: 1, atWork: 0 });
    expect((await used()).tokens).toBeGreaterThan(0);
  });

  test("an idempotent repeat costs nothing", async () => {
    const call = callOf("hello", { idempotencyKey: "k-free" });
    const first = await admit(gateway.context, call);
    for (let times = 0; times < 3; times += 1)
      expect(await admit(gateway.context, call)).toMatchObject({
        row: { id: first.row.id },
        repeated: true,
        quota: {},
      });
    const racing = { idempotencyKey: "k-race" };
    await Promise.all(Array.from({ length: 8 }, () => admit(gateway.context, callOf("hello", racing))));
    await settled({ requests: 2, tokens: 1_024, atWork: 2 });
  });

  test("a moderation counts as one request", async () => {
    const call = { identity: ann, texts: ["a", "b"], modality: "text" as const, trace: callOf("").trace };
    // This door 1 has no judgement for texts.
    await expect(moderate(gateway.context, call)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await settled({ requests: 0, atWork: 0 });
    platform.judge.state.texts = true;
    const { quota } = await moderate(gateway.context, call);
    platform.judge.state.texts = false;
    expect(quota.ratelimit).toContain('"all-requests-day";r=999;t=');
    await settled({ requests: 1, tokens: 0, atWork: 0 });
  });
});

describe("gateways that are killed or stopped lose nothing of a quota", () => {
  beforeEach(() => limit(everything));

  test("what a killed gateway left is settled by another one", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("hello"));
    const words = await Attempt.of(platform, row);
    await words.say(words.started());
    await waitFor("the run", async () => (await rowOf(context, row.id))?.state === "running");
    const lost = "019b0000-0000-7000-8000-00000000dead";
    await context.quotas.reserve(lost, { tokens: 9, images: 0 }, []);
    // As the ledger stands when a gateway is killed right after its commit; the other one never came so far.
    const ended = "UPDATE requests SET state = 'released', ended_at = now(), tokens_used = 5 WHERE id = $1";
    await context.db.query(ended, [row.id]);
    await context.db.query("UPDATE quota_reservations SET created_at = now() - interval '5 minutes'");
    await settleQuotas(context);
    await settled({ requests: 1, tokens: 5, atWork: 0 });
    await waitFor(
      "all to be settled",
      async () => (await context.db.query("SELECT 1 FROM quota_reservations")).rowCount === 0,
    );
  });

  test("a request whose share was given back while door 1 looked at it is not accepted any more", async () => {
    const { context } = gateway;
    platform.judge.state.meanwhile = async (id) => {
      // It is counted at the same time.
      await settled({ requests: 1 });
      context.quotas.settle(id);
      await settled({ requests: 0 });
    };
    try {
      await expect(admit(context, callOf("hello"))).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "RESERVATION_LOST",
      });
    } finally {
      platform.judge.state.meanwhile = undefined;
    }
    expect(await used()).toEqual({ requests: 0, tokens: 0, atWork: 0 });
  });
});

/** How often door 1 was asked, once what is on its way to it has arrived. */
async function askedSoFar(): Promise<number> {
  let before: number | undefined;
  await waitFor("door 1 to have heard it all", () => {
    const { asked } = platform.judge.state;
    const still = asked === before;
    before = asked;
    return still;
  });
  return before!;
}

describe("over a limit", () => {
  test("the reason says which kind, and when to come back; who tries again at once costs door 1 nothing", async () => {
    const cases: [QuotaRule, string][] = [
      [{ name: "day", per: "identity", requestsPerDay: 1 }, "QUOTA_EXHAUSTED"],
      [{ name: "minute", per: "identity", tokensPerMinute: 600 }, "RATE_LIMITED"],
      [{ name: "now", per: "model", concurrency: 1 }, "CONCURRENCY_LIMIT"],
    ];
    for (const [rule, reason] of cases) {
      await limit(rule);
      const refusal = () =>
        admit(gateway.context, callOf("hello")).then(
          () => undefined,
          (error: unknown) => error,
        );
      let refused: unknown;
      // A new minute may begin in between: it lets one more in.
      for (let times = 0; times < 3 && refused === undefined; times += 1) refused = await refusal();
      expect(refused).toBeInstanceOf(QuotaError);
      expect(refused).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason, details: { limit: expect.any(String) } });
      expect((refused as QuotaError).retryAfterMs).toBeGreaterThan(0);
      const asked = await askedSoFar();
      expect(await refusal()).toMatchObject({ reason });
      expect(platform.judge.state.asked).toBe(asked);
    }
  });

  test("a request that alone asks for more than the limit is not told to come back", async () => {
    await limit({ name: "small", per: "identity", tokensPerMinute: 100 });
    const refused = await admit(gateway.context, callOf("hello")).catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: "RATE_LIMITED", retryAfterMs: undefined });
    expect((refused as QuotaError).fields["x-should-retry"]).toBe("false");
  });

  test("one identity floods with hundreds of calls, another one's calls all succeed, and soon", async () => {
    await limit({ name: "each", per: "identity", concurrency: 96 });
    const { context } = gateway;
    const flooding = new AbortController();
    const flood = Array.from({ length: 400 }, () => new Listener(context, "flood", { signal: flooding.signal }));
    const again = setInterval(() => flood.push(new Listener(context, "flood", { signal: flooding.signal })), 5);
    const bob = { ...ann, subject: "bob" };
    const took: number[] = [];
    for (let round = 0; round < 25; round += 1) {
      const startedAt = performance.now();
      const [listener, words] = await beginChat(platform, context, "hello", { identity: bob });
      for (const verdict of [words.started(), words.window("Hello."), words.window("", true)]) await words.say(verdict);
      expect(await listener.done).toMatchObject({ outcome: { state: "released" }, error: undefined });
      took.push(performance.now() - startedAt);
    }
    clearInterval(again);
    flooding.abort();
    const refused = (await Promise.all(flood.map(({ done }) => done))).filter(({ accepted }) => !accepted);
    took.sort((a, b) => a - b);
    console.info(
      `beside a flood of ${flood.length} calls (${refused.length} refused): p50 ${took[12]!.toFixed(0)} ms, p99 ${took[24]!.toFixed(0)} ms`,
    );
    expect(refused.length).toBeGreaterThan(300);
    const reasons = new Set(refused.map(({ error }) => (error as { reason: string }).reason));
    expect([...reasons].filter((reason) => !["OVERLOADED", "CONCURRENCY_LIMIT"].includes(reason))).toEqual([]);
    expect(took[24]).toBeLessThan(5_000);
  }, 60_000);
});

describe("without an answer about its quotas a call is refused within seconds, and never let in", () => {
  /** How calls end that are made now. How many of them door 1 was asked about. */
  async function refusedNow(): Promise<number> {
    const { asked } = platform.judge.state;
    const startedAt = performance.now();
    const calls = Array.from({ length: 20 }, () => new Listener(gateway.context, "hello").done);
    for (const { error } of await Promise.all(calls))
      expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "QUOTAS_UNAVAILABLE", retryAfterMs: 1_000 });
    expect(performance.now() - startedAt).toBeLessThan(6_000);
    return platform.judge.state.asked - asked;
  }
  /** Once that is known, door 1 is not asked in vain either. */
  async function refusedAsLongAsItLasts(): Promise<void> {
    await refusedNow();
    await askedSoFar();
    expect(await refusedNow()).toBe(0);
  }
  const acceptedAgain = () =>
    waitFor("calls to be accepted again", () => admit(gateway.context, callOf("hello")), { timeoutMs: 20_000 });

  test("while the database stands still", async () => {
    await limit(everything);
    await gateway.context.db.transaction(async (tx) => {
      await tx.query("LOCK TABLE quota_counters IN ACCESS EXCLUSIVE MODE");
      await refusedAsLongAsItLasts();
    });
    await acceptedAgain();
    // What was reserved in vain behind the lock is given back.
    await settled({ requests: 1, tokens: 512, atWork: 1 });
  }, 60_000);

  test("while the database is away", async () => {
    await platform.postgres.kill();
    // Its sessions may outlive it for a moment.
    await waitFor("nothing to be counted any more", () =>
      gateway.context.quotas.reserve(randomUUID(), { tokens: 1, images: 0 }, []).then(
        () => false,
        () => true,
      ),
    );
    try {
      await refusedAsLongAsItLasts();
    } finally {
      await platform.postgres.start();
    }
    await acceptedAgain();
  }, 60_000);
});
