/** Who waits for a model gets a turn: on real gateways with real Postgres and a real bus, behind few and slow workers. */
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import type { CallerIdentity } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Context } from "../src/context.ts";
import { admit } from "../src/core/admit.ts";
import { cancel } from "../src/core/cancel.ts";
import { reconcile } from "../src/core/reconciler.ts";
import { ann, callOf, recordsOf, rowOf } from "./fixtures/calls.ts";
import { type Gateway, model, type Platform, startPlatform } from "./fixtures/platform.ts";
import { TestWorker } from "./fixtures/worker.ts";

/** Of one gateway, however quickly the jobs before were begun: eight times JOBS_AHEAD. */
const jobsAhead = 8;
const settings = { JOBS_AHEAD: "1", STALL_TIMEOUT: "600s", REDISPATCH_AFTER: "600s" };

let platform: Platform;
let gateways: [Gateway, Gateway];
let worker: TestWorker;
beforeAll(async () => {
  platform = await startPlatform({ gatewayIds: ["gw-0", "gw-1"] });
  gateways = [await platform.startGateway(settings), await platform.startGateway({ ...settings, GATEWAY_ID: "gw-1" })];
}, 120_000);
afterAll(async () => {
  for (const gateway of gateways ?? []) await gateway[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  worker = new TestWorker(platform, gateways[0], 2);
});
afterEach(async () => {
  await settled();
  await worker[Symbol.asyncDispose]();
});

const contexts = () => gateways.map(({ context }) => context) as [Context, Context];
const person = (tenant: string, subject: string): CallerIdentity => ({ ...ann, tenant, subject });
const zoe = person("other", "zoe");

/** Accepted; its caller does not wait for it. */
async function send(context: Context, identity: CallerIdentity): Promise<string> {
  const { row } = await admit(context, callOf("hello", { identity }));
  return row.id;
}

/** So many requests of each, one after the other, through the gateways in turn; the workers have all that they can take. */
async function flood(identities: readonly CallerIdentity[], each: number, through = contexts() as Context[]) {
  const ids: string[] = [];
  for (let round = 0; round < each; round += 1) {
    for (const identity of identities) ids.push(await send(through[ids.length % through.length]!, identity));
  }
  await waitFor("busy workers", () => worker.atWork === 2);
  return ids;
}

/** Everything ends, each once. */
async function settled(): Promise<void> {
  worker.finishAll();
  const { db } = gateways[0].context;
  const sql = "SELECT 1 FROM requests WHERE ended_at IS NULL";
  await waitFor("everything to end", async () => (await db.query(sql)).rowCount === 0, { timeoutMs: 30_000 });
}

const isSent = async (id: string) => {
  for await (const _ of platform.worker.replay("JOBS", subjects.job(model, id), JobSchema)) return true;
  return false;
};
/** Queued, by whether their jobs lie on the bus. */
async function queued(): Promise<{ sent: string[]; waiting: string[] }> {
  const sql = "SELECT id FROM requests WHERE state = 'queued' ORDER BY created_at";
  const { rows } = await gateways[0].context.db.query<{ id: string }>(sql);
  const sent = new Set<string>();
  for (const { id } of rows) if (await isSent(id)) sent.add(id);
  const ids = rows.map(({ id }) => id);
  return { sent: ids.filter((id) => sent.has(id)), waiting: ids.filter((id) => !sent.has(id)) };
}
const stateOf = async (id: string) => (await rowOf(gateways[0].context, id))!;

describe("beside a flood", () => {
  test("by three identities of a tenant through two gateways, another tenant's request waits for what lies ahead, not for the flood", async () => {
    const people = ["ann", "bea", "cat"].map((subject) => person("acme", subject));
    const flooded = await flood(people, 30);
    const { sent, waiting } = await queued();
    expect(sent.length).toBeLessThanOrEqual(2 * jobsAhead);
    expect(waiting.length).toBeGreaterThan(70);
    for (const [at, context] of contexts().entries()) {
      const from = worker.begun.length;
      const id = await send(context, person(`other-${at}`, "zoe"));
      expect(await worker.before(id, from)).toBeLessThanOrEqual(2 * jobsAhead);
    }
    await settled();
    const ended = await Promise.all(flooded.map(stateOf));
    expect(new Set(ended.map(({ state }) => state))).toEqual(new Set(["released"]));
    const records = await recordsOf(gateways[0].context, flooded[80]!);
    expect(records.map(({ event }) => event)).toEqual(["request.accepted", "request.released"]);
  }, 90_000);

  test("by one identity, another one of the same tenant waits for what lies ahead", async () => {
    const [context] = contexts();
    await flood([ann], 40, [context]);
    const from = worker.begun.length;
    const id = await send(context, person("acme", "bea"));
    expect(await worker.before(id, from)).toBeLessThanOrEqual(jobsAhead);
  }, 60_000);

  test("tenants that both send more than there are places get as many turns, however many identities each has", async () => {
    const [context] = contexts();
    const people = ["ann", "bea", "cat"].map((subject) => person("acme", subject));
    await flood([...people, zoe, zoe, zoe], 12, [context]);
    const from = worker.begun.length;
    for (let turns = 0; turns < 40; turns += 1) {
      const count = worker.begun.length;
      await worker.finish();
      await waitFor("the next job", () => worker.begun.length > count);
    }
    // Who came first was ahead at first.
    const tenants = worker.begun.slice(from + 2 * jobsAhead).map(({ tenant }) => tenant);
    const share = tenants.filter((tenant) => tenant === "other").length / tenants.length;
    expect(Math.abs(share - 0.5)).toBeLessThan(0.1);
  }, 60_000);
});

describe("what waits for its turn", () => {
  test("is neither lost nor doubled when its gateway is started anew", async () => {
    const ids = await flood([ann], 20);
    await gateways[1][Symbol.asyncDispose]();
    gateways[1] = await platform.startGateway({ ...settings, GATEWAY_ID: "gw-1" });
    const id = await send(gateways[1].context, zoe);
    ids.push(id);
    await settled();
    const begun = worker.begun.map(({ requestId }) => requestId);
    for (const each of ids) expect([each, begun.filter((other) => other === each).length]).toEqual([each, 1]);
  }, 60_000);

  test("ends when it is cancelled, switched off or late, and is never begun", async () => {
    const [context] = contexts();
    await flood([ann], 20, [context]);
    const [cancelled, late] = [await send(context, ann), await send(context, ann)];
    const revoked = await send(context, { ...ann, credential: "c2" });
    expect((await queued()).waiting).toEqual(expect.arrayContaining([cancelled, late, revoked]));
    await cancel(context, cancelled, "CANCELLED");
    expect(await stateOf(cancelled)).toMatchObject({ state: "cancelled", code: "CANCELLED" });
    await context.db.query("UPDATE requests SET deadline_at = now() - interval '1 second' WHERE id = $1", [late]);
    await reconcile(context);
    expect(await stateOf(late)).toMatchObject({ state: "failed", code: "DEADLINE_EXCEEDED" });
    await platform.switchOff([{ id: "s-1", kind: "revocation", target: { scope: "credential", credential: "c2" } }]);
    await waitFor("its end", async () => (await stateOf(revoked)).endedAt);
    expect(await stateOf(revoked)).toMatchObject({ state: "cancelled", code: "CREDENTIAL_REVOKED" });
    await platform.switchOff([], { lifted: ["s-1"] });
    await settled();
    const begun = worker.begun.map(({ requestId }) => requestId);
    expect(begun.filter((id) => [cancelled, late, revoked].includes(id))).toEqual([]);
  }, 60_000);

  test("takes the place of what another replica ended, within seconds", async () => {
    const [here, there] = contexts();
    await flood([ann], 20, [here]);
    const { sent, waiting } = await queued();
    for (const id of sent) await cancel(there, id, "CANCELLED");
    const next = async () => (await queued()).waiting.length < waiting.length;
    await waitFor("another in their place", next, { timeoutMs: 6_000 });
  }, 60_000);

  test("is tried again in its turn when its run was lost", async () => {
    const [context] = contexts();
    const ids = await flood([ann], 20, [context]);
    const [first] = worker.begun.slice(-2);
    expect(ids).toContain(first!.requestId);
    await context.moves.lost(first!.requestId, {
      ...{ attempt: 1, retryable: true, code: "ENGINE_CRASHED", stage: "worker" },
    });
    expect(await stateOf(first!.requestId)).toMatchObject({ state: "queued", attempt: 2 });
    await settled();
    expect(await stateOf(first!.requestId)).toMatchObject({ state: "released", attempt: 2 });
  }, 60_000);
});

test("with nobody before it a request is begun as soon as it is accepted", async () => {
  const id = await send(contexts()[1], zoe);
  await waitFor("its begin", () => worker.begun.some(({ requestId }) => requestId === id));
});

test("a request that its gateway accepted and did not come to send is found in the ledger", async () => {
  const untold = { ...contexts()[1], dispatcher: { enter: () => {} } } as unknown as Context;
  const id = await send(untold, zoe);
  await waitFor("its begin", () => worker.begun.some(({ requestId }) => requestId === id));
});

test("while the bus stands still requests are accepted, and sent when it is back", async () => {
  await platform.nats.pause();
  const ids = [await send(contexts()[0], zoe), await send(contexts()[0], ann)];
  await platform.nats.resume();
  const begun = () => worker.begun.filter(({ requestId }) => ids.includes(requestId)).length;
  await waitFor("both", () => begun() === 2, { timeoutMs: 15_000 });
});
