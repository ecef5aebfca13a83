/** The kill switch at the gateway: streams in flight end at once, the ledger follows, and nothing new is let in or given out. */

import { ReviewDecisionMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import {
  type AppError,
  createApiToken,
  type Switch,
  SwitchIndex,
  stoppedBySwitch,
  systemIds,
} from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findSwitchedOff } from "../src/db/switched.ts";
import { getReceipt, getRequest } from "../src/handlers/requests.ts";
import { ann, beginChat, Listener, recordsOf, rowOf } from "./fixtures/calls.ts";
import { type Gateway, model, type Platform, startPlatform } from "./fixtures/platform.ts";

let platform: Platform;
let gateway: Gateway;
beforeAll(async () => {
  platform = await startPlatform();
  gateway = await platform.startGateway();
}, 120_000);
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});
afterEach(async () => {
  await platform.switchOff([], { lifted: ["bg"] });
  await waitFor("everything on again", () => gateway.context.switches.fresh && !gateway.context.switches.find(all));
});

const all = { tenant: ann.tenant, issuer: ann.issuer, subject: ann.subject, credential: ann.credential, model };
const begin = (content?: string, more?: object) => beginChat(platform, gateway.context, content, more);
const stateOf = async (id: string) => (await rowOf(gateway.context, id))!;
const one = (target: object, kind = "pause", more = {}) => ({ id: crypto.randomUUID(), kind, target, ...more });
const reasonOf = (error: unknown) => (error as AppError | undefined)?.reason;
const refusal = async (more = {}) => reasonOf((await new Listener(gateway.context, "hello", more).done).error);

/** A stream with one window out. */
async function streaming(more = {}) {
  const [listener, words] = await begin("hello", more);
  for (const verdict of [words.started(), words.window("One. ")]) await words.say(verdict);
  await waitFor("the first window", () => listener.texts.length === 1);
  return { listener, words };
}

describe.each([
  ["everything", { scope: "all" }, "pause", "UNAVAILABLE", "PAUSED"],
  ["its model", { scope: "model", model }, "pause", "UNAVAILABLE", "PAUSED"],
  ["its tenant", { scope: "tenant", tenant: ann.tenant }, "pause", "UNAVAILABLE", "PAUSED"],
  [
    "its identity",
    { scope: "identity", tenant: ann.tenant, issuer: ann.issuer, subject: ann.subject },
    "ban",
    "PERMISSION_DENIED",
    "BANNED",
  ],
  [
    "its credential",
    { scope: "credential", credential: ann.credential },
    "revocation",
    "UNAUTHENTICATED",
    "CREDENTIAL_REVOKED",
  ],
] as const)("a switch about %s", (_, target, kind, code, reason) => {
  test(`ends streams as ${reason}, in the ledger as well, and refuses the next call`, async () => {
    const { listener, words } = await streaming();
    const began = performance.now();
    await platform.switchOff([one(target, kind)]);
    await listener.done;
    const tookMs = performance.now() - began;
    expect(listener.error).toMatchObject({ code, reason });
    expect(tookMs).toBeLessThan(1_000);
    expect(await refusal()).toBe(reason);
    await words.say(words.window("Two."));
    const row = await waitFor("the ending", async () => {
      const found = await stateOf(listener.id);
      return found.endedAt ? found : undefined;
    });
    expect(row).toMatchObject({ state: "cancelled", code: reason, windowsReleased: 1 });
    const records = await recordsOf(gateway.context, listener.id);
    expect(records.filter(({ terminal }) => terminal)).toMatchObject([{ event: "request.cancelled", code: reason }]);
    expect(listener.texts).toEqual(["One. "]);
    console.log(`${reason} (${target.scope}): the stream ended ${Math.round(tookMs)} ms after the put began`);
  });
});

test("a switch about somebody or something else touches nothing", async () => {
  const { listener, words } = await streaming();
  await platform.switchOff([
    one({ scope: "model", model: "other" }),
    one({ scope: "tenant", tenant: "globex" }),
    one({ scope: "identity", tenant: ann.tenant, issuer: "https://other.example", subject: ann.subject }, "ban"),
    one({ scope: "credential", credential: "c2" }, "revocation"),
    one({ scope: "all" }, "pause", { until: new Date(Date.now() - 1).toISOString() }),
  ]);
  await words.say(words.window("Two.", true));
  expect((await listener.done).outcome).toMatchObject({ state: "released" });
});

test("a pause that is lifted, or past its time, lets calls in again", async () => {
  await platform.switchOff([one({ scope: "all" }, "pause", { until: new Date(Date.now() + 700).toISOString() })]);
  await waitFor("the pause", async () => (await refusal({ idempotencyKey: "" })) === "PAUSED");
  await waitFor("its end", () => !gateway.context.switches.find(all), { timeoutMs: 3_000 });
  const { listener, words } = await streaming();
  await words.say(words.window("Two.", true));
  expect((await listener.done).outcome).toMatchObject({ state: "released" });
});

test("with the ledger away streams end all the same, and the ledger follows when it is back", async () => {
  const { listener } = await streaming();
  const { db } = gateway.context;
  const hold = Promise.withResolvers<void>();
  // Its row is locked: every write about it waits.
  const locked = db.transaction(async (tx) => {
    await tx.query("SELECT 1 FROM requests WHERE id = $1 FOR UPDATE", [listener.id]);
    await hold.promise;
  });
  const began = performance.now();
  await platform.switchOff([one({ scope: "all" })]);
  expect(reasonOf((await listener.done).error)).toBe("PAUSED");
  expect(performance.now() - began).toBeLessThan(1_000);
  hold.resolve();
  await locked;
  await waitFor("the ledger", async () => (await stateOf(listener.id)).state === "cancelled");
});

test("what is queued or collecting ends too; what waits for a person keeps waiting, and is cancelled when let in", async () => {
  const [queued] = await begin();
  const [held, asked] = await begin("hold");
  expect((await held.done).outcome).toMatchObject({ state: "held", holdStage: "door1" });
  const { listener: collecting, words } = await streaming();
  await words.say(words.refusal("hold"));
  expect((await collecting.done).outcome).toMatchObject({ state: "held", holdStage: "collecting" });
  await platform.switchOff([one({ scope: "model", model })]);
  for (const { id } of [queued, collecting])
    await waitFor("the ending", async () => (await stateOf(id)).code === "PAUSED");
  expect(await stateOf(held.id)).toMatchObject({ state: "held", holdStage: "door1" });
  const decision = asked.decision("door1", asked.job.admission!.door1!, true);
  const subject = subjects.decision(held.id);
  await platform.governance.publish("DECISIONS", subject, ReviewDecisionMessageSchema, decision, { msgId: held.id });
  const row = await waitFor("the decision", async () => {
    const found = await stateOf(held.id);
    return found.state === "held" ? undefined : found;
  });
  expect(row).toMatchObject({ state: "cancelled", code: "PAUSED" });
});

test("while a switch about it holds, nothing of a released request is given out, its receipt excepted", async () => {
  const { listener, words } = await streaming({ idempotencyKey: "k-off" });
  await words.say(words.window("Two.", true));
  await listener.done;
  const get = () => getRequest(gateway.context, ann, listener.id).then(({ output }) => output?.length, reasonOf);
  expect(await get()).toBe(2);
  const other = { ...ann, credential: "c9" };
  await platform.switchOff([one({ scope: "credential", credential: ann.credential }, "revocation")]);
  await waitFor("the revocation", () => gateway.context.switches.find(all));
  expect(await refusal({ identity: other, idempotencyKey: "k-off" })).toBe("CREDENTIAL_REVOKED");
  expect(await getRequest(gateway.context, other, listener.id).catch(reasonOf)).toBe("CREDENTIAL_REVOKED");
  // It is asked for (and nobody answers here): no switch stands against it.
  const receipt = await getReceipt(gateway.context, other, listener.id, AbortSignal.timeout(300)).catch(reasonOf);
  expect(receipt).not.toBe("CREDENTIAL_REVOKED");
  await platform.switchOff([]);
  await waitFor("the lifting", async () => (await get()) === 2);
});

test("requests of an API token end when its entry is gone from the signed credentials", async () => {
  const token = createApiToken(systemIds);
  const expiresAt = new Date(Date.now() + 60_000).toISOString();
  const { tenant, subject, issuer, groups } = ann;
  const entry = { id: token.id, hash: token.hash, tenant, subject, issuer, groups, expiresAt };
  await platform.believe({ tokens: [entry] });
  const identity = await waitFor("the token", () =>
    gateway.context.callers.verify({ bearer: token.token }).catch(() => undefined),
  );
  expect(identity).toMatchObject({ credential: token.id, credentialRef: `token/${token.id}` });
  const { listener } = await streaming({ identity });
  const { listener: kept } = await streaming();
  const began = performance.now();
  await platform.believe({});
  await listener.done;
  console.log(`a revoked API token's stream ended ${Math.round(performance.now() - began)} ms after the puts began`);
  expect(listener.error).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" });
  await waitFor("the ledger", async () => (await stateOf(listener.id)).code === "CREDENTIAL_REVOKED");
  expect((await stateOf(kept.id)).state).toBe("running");
});

test("a worker that stops for a switch costs no attempt: the request ends for the switch", async () => {
  // What governance lifted stays lifted: this one is not.
  await platform.switchOff([]);
  const { listener, words } = await streaming();
  await platform.breakGlass([{ id: "bg", kind: "pause", target: { scope: "all" } }]);
  await words.say(words.failed(stoppedBySwitch, true));
  await listener.done;
  const row = await waitFor("the ending", async () => {
    const found = await stateOf(listener.id);
    return found.endedAt ? found : undefined;
  });
  expect(row).toMatchObject({ state: "cancelled", code: "PAUSED", attempt: 1 });
});

test("what another replica accepts in spite of a switch is ended within two seconds", async () => {
  const { listener } = await streaming();
  await platform.switchOff([one({ scope: "all" })]);
  await listener.done;
  await waitFor("the ending", async () => (await stateOf(listener.id)).state === "cancelled");
  // As if it had been accepted by a replica that had not heard of the switch yet.
  const late = "UPDATE requests SET state = 'queued', ended_at = NULL, code = '' WHERE id = $1";
  await gateway.context.db.query(late, [listener.id]);
  await waitFor("its end", async () => (await stateOf(listener.id)).code === "PAUSED", { timeoutMs: 2_000 });
});

test("the ledger's query finds what the index finds, for 200 random sets of switches over 60 requests", async () => {
  const { db } = gateway.context;
  const [{ id: template }] = await begin();
  const names = ["a", "b", "c", "a,b"];
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!;
  const facts = () => ({ tenant: pick(names), issuer: pick(names), subject: pick(names), credential: pick(names) });
  const rows = Array.from({ length: 60 }, () => ({ id: systemIds.uuid(), model: pick(names), ...facts() }));
  for (const { id, tenant, issuer, subject, credential, model: name } of rows) {
    const copied = "issuer, subject, tenant, credential, model, id";
    const { rows: columns } = await db.query<{ list: string }>(
      `SELECT string_agg(column_name, ', ') AS list FROM information_schema.columns WHERE table_name = 'requests'
       AND table_schema = current_schema() AND NOT column_name = ANY($1)`,
      [copied.split(", ")],
    );
    const sql = `INSERT INTO requests (${copied}, ${columns[0]!.list}) SELECT $1, $2, $3, $4, $5, $6, ${columns[0]!.list} FROM requests WHERE id = $7`;
    await db.query(sql, [issuer, subject, tenant, credential, name, id, template]);
  }
  const targets = [
    () => ({ scope: "model", model: pick(names) }),
    () => ({ scope: "tenant", tenant: pick(names) }),
    () => ({ scope: "identity", tenant: pick(names), issuer: pick(names), subject: pick(names) }),
    () => ({ scope: "credential", credential: pick(names) }),
  ] as const;
  for (let round = 0; round < 200; round += 1) {
    const all = round % 50 === 0 ? [{ id: "all", kind: "pause", target: { scope: "all" } }] : [];
    const some = Array.from({ length: round % 4 }, (_, at) => ({ id: `${at}`, kind: "ban", target: pick(targets)() }));
    const switches = [...all, ...some] as Switch[];
    const index = new SwitchIndex(switches);
    const expected = rows.filter((row) => index.find(row, new Date())).map(({ id }) => id);
    const found = await findSwitchedOff(db, switches, [], 1_000);
    const ours = found.filter((id) => rows.some((row) => row.id === id));
    expect(ours.sort(), JSON.stringify(switches)).toEqual(expected.sort());
  }
  await db.query("DELETE FROM requests WHERE id = ANY($1)", [rows.map(({ id }) => id)]);
});

test("with the bus away everything is refused and streams end within 5 s; nothing is ended for good", async () => {
  const { listener } = await streaming();
  const began = performance.now();
  await platform.nats.kill();
  await listener.done;
  const tookMs = performance.now() - began;
  expect(listener.error).toMatchObject({ code: "UNAVAILABLE", reason: "STATE_STALE" });
  expect(tookMs).toBeLessThan(5_000);
  expect(await refusal()).toBe("STATE_STALE");
  expect((await stateOf(listener.id)).state).toBe("running");
  console.log(`with the bus away the stream ended after ${Math.round(tookMs)} ms`);
  await platform.nats.start();
  await waitFor("the bus", () => gateway.context.switches.fresh, { timeoutMs: 20_000 });
});
