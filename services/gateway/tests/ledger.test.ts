/** The ledger on real Postgres and a real bus: what is accepted is in it first, once, and ends once. */
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Context } from "../src/context.ts";
import { admit } from "../src/core/admit.ts";
import { cancel } from "../src/core/cancel.ts";
import { reconcile } from "../src/core/reconciler.ts";
import { applyDecision } from "../src/handlers/bus/apply-decision.ts";
import { applyVerdict } from "../src/handlers/bus/apply-verdict.ts";
import { ann, callOf, Listener, recordsOf, rowOf } from "./fixtures/calls.ts";
import { type Gateway, type Platform, startPlatform } from "./fixtures/platform.ts";
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

const sent = async (id: string) => {
  const sql = "SELECT stream, msg_id FROM outbox WHERE msg_id LIKE $1 OR subject LIKE $1";
  const { rows } = await gateway.context.db.query<{ stream: string }>(sql, [`%${id}%`]);
  return rows.map(({ stream }) => stream);
};

describe("acceptance is one transaction", () => {
  test("row, record and job come together; what fails stores none of them", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("hello"));
    expect(await rowOf(context, row.id)).toMatchObject({ state: "queued", attempt: 1 });
    expect(await recordsOf(context, row.id)).toMatchObject([{ event: "request.accepted", terminal: false }]);

    const count = async () => (await context.db.query<{ n: string }>("SELECT count(*) AS n FROM requests")).rows[0]!.n;
    const before = [await count(), context.outbox.depth];
    // The record's reference does not fit into its column: the insert fails after the record was made.
    const broken = callOf("hello", { identity: { ...ann, subject: "nul\0" } });
    await expect(admit(context, broken)).rejects.toThrow();
    expect([await count(), context.outbox.depth]).toEqual(before);
  });

  test("a held prompt is in the review queue's outbox exactly when the ledger holds it; a denied one has ended", async () => {
    const { context } = gateway;
    const { row: held } = await admit(context, callOf("hold"));
    expect(held).toMatchObject({ state: "held", holdStage: "door1", attempt: 0, code: "TEST_RULE" });
    expect(await sent(held.id)).toContain("HELD");
    const { row: denied } = await admit(context, callOf("deny"));
    expect(denied).toMatchObject({ state: "blocked", code: "TEST_RULE" });
    expect(denied.leafHash).toMatch(/^[0-9a-f]{64}$/);
    expect(await recordsOf(context, denied.id)).toMatchObject([{ event: "request.blocked", terminal: true }]);
  });

  test("without door 1 nothing is accepted", async () => {
    platform.judge.state.down = true;
    try {
      await expect(admit(gateway.context, callOf("hello"))).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "DOOR1_UNAVAILABLE",
      });
    } finally {
      platform.judge.state.down = false;
    }
  });

  test("what door 1 made of a request is accepted only as made of the bytes that were sent", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("sanitise"));
    expect(row.state).toBe("queued");
    expect(row.requestDigest).not.toBe(row.sentDigest);
    platform.judge.state.madeOfOthers = true;
    try {
      const refused = { code: "UNAVAILABLE", reason: "DOOR1_INVALID" };
      await expect(admit(context, callOf("sanitise"))).rejects.toMatchObject(refused);
    } finally {
      platform.judge.state.madeOfOthers = false;
    }
  });

  test("many at once share transactions, and their records are numbered without a gap", async () => {
    const { context } = gateway;
    const rows = await Promise.all(Array.from({ length: 40 }, () => admit(context, callOf("hello"))));
    const records = (await Promise.all(rows.map(({ row }) => recordsOf(context, row.id)))).flat();
    const places = records.map(({ sequence }) => sequence).sort((a, b) => a - b);
    expect(places).toHaveLength(40);
    expect(places.at(-1)! - places[0]!).toBe(39);
    const sql = "SELECT committed FROM outbox_epochs WHERE epoch = $1";
    const { rows: epochs } = await context.db.query<{ committed: string }>(sql, [context.outbox.epoch]);
    expect(Number(epochs[0]!.committed)).toBeLessThan(places.at(-1)!);
  });
});

describe("an idempotency key", () => {
  test("used twenty times at once makes one request", async () => {
    const calls = Array.from({ length: 20 }, () => admit(gateway.context, callOf("hello", { idempotencyKey: "k-20" })));
    const admitted = await Promise.all(calls);
    expect(new Set(admitted.map(({ row }) => row.id)).size).toBe(1);
    expect(admitted.filter(({ repeated }) => !repeated)).toHaveLength(1);
    expect(await recordsOf(gateway.context, admitted[0]!.row.id)).toHaveLength(1);
  });

  test("with other content is refused, and belongs to one person of one issuer", async () => {
    const call = { idempotencyKey: "k-other" };
    const { row } = await admit(gateway.context, callOf("hello", call));
    await expect(admit(gateway.context, callOf("hello again", call))).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    const namesake = { ...ann, issuer: "https://other.example" };
    const other = await admit(gateway.context, callOf("hello", { ...call, identity: namesake }));
    expect(other.row.id).not.toBe(row.id);
  });

  test("keeps the request's own deadline, whatever its first call's was", async () => {
    const soon = new Date(Date.now() + 1_000);
    const kept = await admit(gateway.context, callOf("hello", { idempotencyKey: "k-late", deadlineAt: soon }));
    const bare = await admit(gateway.context, callOf("hello", { deadlineAt: soon }));
    expect(kept.row.deadlineAt.getTime()).toBeGreaterThan(soon.getTime() + 30_000);
    expect(bare.row.deadlineAt).toEqual(soon);
  });
});

describe("exactly one terminal state", () => {
  test("whichever of final verdict, denial, cancellation, failure and deadline comes first", async () => {
    const { context } = gateway;
    const ids: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const { row } = await admit(context, callOf("hello", { deadlineAt: new Date(Date.now() + 30) }));
      ids.push(row.id);
      const first = await Attempt.of(platform, row);
      await applyVerdict(context, first.started());
      const rivals = [
        () => applyVerdict(context, round % 2 ? first.window("done", true) : first.refusal("deny")),
        () => cancel(context, row.id, "CANCELLED"),
        () => applyVerdict(context, first.failed("ENGINE_CRASHED", false)),
        () => reconcile(context),
      ];
      const turn = round % rivals.length;
      await Promise.all([...rivals.slice(turn), ...rivals.slice(0, turn)].map((rival) => rival()));
    }
    await waitFor("every request to have ended", async () => {
      await reconcile(context);
      return (await Promise.all(ids.map((id) => rowOf(context, id)))).every((row) => row?.endedAt);
    });
    for (const id of ids) {
      const terminal = (await recordsOf(context, id)).filter((record) => record.terminal);
      expect(terminal).toHaveLength(1);
      expect(terminal[0]!.event).toBe(`request.${(await rowOf(context, id))!.state}`);
    }
  });

  test("a decision that comes as its hold expires: let in or blocked, never both", async () => {
    const { context } = gateway;
    for (let round = 0; round < 6; round += 1) {
      const { row } = await admit(context, callOf("hold"));
      await context.db.query("UPDATE requests SET hold_expires_at = now() - interval '1 second' WHERE id = $1", [
        row.id,
      ]);
      const words = await Attempt.of(platform, row, 1);
      const decision = words.decision("door1", words.job.admission!.door1!, true);
      await Promise.all([reconcile(context), applyDecision(context, decision)]);
      const after = (await rowOf(context, row.id))!;
      const events = (await recordsOf(context, row.id)).map(({ event }) => event);
      if (after.state === "queued") expect(events).toEqual(["request.held", "request.accepted"]);
      else {
        expect(after).toMatchObject({ state: "blocked", code: "HOLD_EXPIRED" });
        expect(events).toEqual(["request.held", "request.blocked"]);
      }
    }
  });
});

/** A start is stored a moment after its verdict. */
function running(context: Context, id: string) {
  return waitFor("the run's start in the ledger", async () => (await rowOf(context, id))?.state === "running");
}

describe("time", () => {
  test("a lost run is tried again as a new attempt until the tries are used up, and old attempts are not heard", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("hello"));
    const silence = "UPDATE requests SET progress_at = now() - interval '1 hour' WHERE id = $1";
    for (let attempt = 1; attempt <= context.limits.maxAttempts; attempt += 1) {
      const current = (await rowOf(context, row.id))!;
      expect(current).toMatchObject({ state: "queued", attempt });
      const words = await Attempt.of(platform, current);
      await applyVerdict(context, words.started());
      await running(context, row.id);
      await context.db.query(silence, [row.id]);
      await reconcile(context);
      // What the lost run says after all.
      await applyVerdict(context, words.window("late", true));
    }
    expect(await rowOf(context, row.id)).toMatchObject({ state: "failed", code: "ATTEMPTS_EXHAUSTED" });
    const terminal = (await recordsOf(context, row.id)).filter((record) => record.terminal);
    expect(terminal).toHaveLength(1);
  });

  test("after a released window a lost run ends the request: two runs are never spliced", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("hello"));
    const words = await Attempt.of(platform, row);
    await applyVerdict(context, words.started());
    await applyVerdict(context, words.window("one"));
    await context.db.query("UPDATE requests SET progress_at = now() - interval '1 hour' WHERE id = $1", [row.id]);
    await reconcile(context);
    expect(await rowOf(context, row.id)).toMatchObject({ state: "failed", code: "ATTEMPT_LOST", attempt: 1 });
  });

  test("a run is not called silent by a gateway that has only just begun to listen again", async () => {
    // Less patient than the gateway that runs beside it, which therefore leaves the request alone.
    const context = { ...gateway.context, limits: { ...gateway.context.limits, stallMs: 1_000 } };
    const { row } = await admit(context, callOf("hello"));
    await applyVerdict(context, (await Attempt.of(platform, row)).started());
    await running(context, row.id);
    await context.db.query("UPDATE requests SET progress_at = now() - interval '1 minute' WHERE id = $1", [row.id]);
    await reconcile(context, context.clock.now());
    expect(await rowOf(context, row.id)).toMatchObject({ state: "running", attempt: 1 });
    await reconcile(context);
    expect(await rowOf(context, row.id)).toMatchObject({ state: "queued", attempt: 2 });
  });

  test("a hold that is still being collected ends with the request's deadline", async () => {
    const { context } = gateway;
    const { row } = await admit(context, callOf("hello"));
    const words = await Attempt.of(platform, row);
    for (const verdict of [words.started(), words.refusal("hold")]) await applyVerdict(context, verdict);
    expect(await rowOf(context, row.id)).toMatchObject({ state: "held", holdStage: "collecting" });
    await context.db.query("UPDATE requests SET deadline_at = now() - interval '1 second' WHERE id = $1", [row.id]);
    await reconcile(context);
    expect(await rowOf(context, row.id)).toMatchObject({ state: "failed", code: "DEADLINE_EXCEEDED" });
  });

  test("a caller that leaves ends its request, unless it is held or has an idempotency key", async () => {
    const { context } = gateway;
    const leaving = async (content: string, more = {}) => {
      const listener = new Listener(context, content, more);
      await waitFor("acceptance", () => listener.accepted);
      listener.gone.abort();
      await listener.done;
      return (await rowOf(context, listener.id))!;
    };
    expect(await leaving("hello")).toMatchObject({ state: "cancelled", code: "CLIENT_GONE" });
    expect(await leaving("hello", { idempotencyKey: "k-leave" })).toMatchObject({ state: "queued" });
    expect(await leaving("hold")).toMatchObject({ state: "held" });
  });

  test("stopping tells the callers that wait, and leaves their requests to the ledger", async () => {
    const second = await platform.startGateway();
    const listener = new Listener(second.context, "hello");
    await waitFor("acceptance", () => listener.accepted);
    await second.context.inFlight.drain(50);
    await listener.done;
    expect(listener.error).toMatchObject({ code: "UNAVAILABLE", reason: "STOPPING" });
    expect((await new Listener(second.context, "hello").done).error).toMatchObject({ reason: "STOPPING" });
    expect(await rowOf(second.context, listener.id)).toMatchObject({ state: "queued" });
    await second[Symbol.asyncDispose]();
  });
});
