/** The way of an event from a producer's outbox to the log, over a real bus that fails in every way it can. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalBytes } from "@sallyport/attestation";
import { AuditEventSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { DeadLetterSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { streams, subjects } from "@sallyport/proto/subjects";
import {
  type Bus,
  createConfirmer,
  createLogger,
  createOutbox,
  type Db,
  migrate,
  type Outbox,
  openDatabase,
  systemClock,
  systemIds,
} from "@sallyport/runtime";
import {
  startTestNats,
  startTestPostgres,
  type TestNats,
  type TestPostgres,
  testDatabase,
  waitFor,
} from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startGapWatch } from "../src/core/gaps.ts";
import { logEvent } from "../src/handlers/log-event.ts";
import { gatewayEvent } from "./events.ts";
import { type ServiceParts, serviceParts } from "./service-parts.ts";

const log = createLogger("audit", "error");
const patient = { timeoutMs: 25_000 };
let nats: TestNats;
let postgres: TestPostgres;
let parts: ServiceParts;
let gateway: { db: Db; bus: Bus; outbox: Outbox };
let intake: AsyncDisposable;

beforeAll(async () => {
  nats = await startTestNats();
  await nats.provision();
  postgres = await startTestPostgres();
  parts = await serviceParts(await postgres.database());
  gateway = await startGateway();
  intake = await startIntake();
});
afterAll(async () => {
  await intake[Symbol.asyncDispose]();
  await gateway.outbox[Symbol.asyncDispose]();
  await gateway.bus[Symbol.asyncDispose]();
  await gateway.db.close();
  await parts.close();
  await postgres[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

describe("events on the bus", () => {
  it("reach the log, each once, and leave the producer's outbox empty", async () => {
    await emit(500);
    await allLogged(500);
  });

  it("survive a bus that is killed under load", async () => {
    const before = await logged();
    const emitting = emit(300);
    await nats.kill();
    await nats.start();
    await emitting;
    await allLogged(before + 300);
  });

  it("survive a bus that forgets everything", async () => {
    const before = await logged();
    await nats.kill();
    await emit(100);
    nats.wipe();
    await nats.start();
    await nats.provision();
    await allLogged(before + 100);
  });

  it("survive a database that is killed under load, without a dead letter", async () => {
    const before = await logged();
    const emitting = emit(300);
    await postgres.kill();
    await emitting;
    await postgres.start();
    await allLogged(before + 300);
    expect(await firstDead()).toBeUndefined();
  });

  it("survive an audit service that is stopped between them", async () => {
    const before = await logged();
    await intake[Symbol.asyncDispose]();
    await emit(100);
    intake = await startIntake();
    await allLogged(before + 100);
  });

  it("that never arrive are missed, asked for and sent again", async () => {
    const before = await logged();
    const consumer = await takeAway(3);
    await emit(1);
    await allLogged(before + 4);
    expect(consumer).toBe(3);
    const { rows } = await parts.db.query("SELECT 1 FROM arrivals WHERE gap_since IS NOT NULL");
    expect(rows).toEqual([]);
  });

  it("that are poison end in DEAD with the reason, and the next ones are logged", async () => {
    const epoch = "poisoned";
    const event = gatewayEvent({ sequence: 1, epoch });
    const publish = (message: typeof event, msgId: string) =>
      gateway.bus.publish("AUDIT", subjects.audit("gateway", "request.released"), AuditEventSchema, message, { msgId });
    await publish({ ...event, record: Buffer.from("{}") }, "poison.1");
    await publish(gatewayEvent({ sequence: 2, epoch }), "poison.2");
    await waitFor("the next event in the log", () => inLog(epoch, 2));
    const letter = await waitFor("the dead letter", () => firstDead());
    expect(letter).toMatchObject({ stream: "AUDIT", reason: "RECORD_VERSION", deliveries: 1 });
  });
});

async function startGateway() {
  const db = await openDatabase({ ...(await testDatabase()), log });
  const empty = mkdtempSync(join(tmpdir(), "no-migrations-"));
  await migrate(db, empty);
  rmSync(empty, { recursive: true });
  const bus = await nats.bus("gateway", log);
  return { db, bus, outbox: createOutbox({ db, bus, producer: "gateway", ids: systemIds, clock: systemClock, log }) };
}

/** The service's intake, as startService wires it. */
async function startIntake(): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const bus = stack.use(await nats.bus("audit", log));
  const stop = new AbortController();
  const context = { ...parts, confirmer: stack.use(createConfirmer(bus)), bus, stopping: stop.signal };
  const [consumer] = streams.AUDIT.consumers;
  stack.use(
    bus.consume("AUDIT", consumer, AuditEventSchema, (event, { subject }) => logEvent(context, event, subject), {
      concurrency: 256,
    }),
  );
  stack.use(startGapWatch(context));
  stack.defer(() => stop.abort());
  return stack;
}

async function emit(count: number): Promise<void> {
  const commits = Array.from({ length: count }, (_, i) =>
    gateway.outbox.commit(async () => ({
      value: undefined,
      messages: [
        {
          audit: {
            event: "request.released",
            build: (place) => ({
              requestId: `r${i}`,
              record: canonicalBytes({ v: 1, ...place, event: "request.released", request: { id: `r${i}` } }),
            }),
          },
        },
      ],
    })),
  );
  await Promise.all(commits);
}

async function logged(): Promise<number> {
  const { rows } = await parts.db.query<{ count: string }>(
    "SELECT count(*) AS count FROM records WHERE producer = 'gateway'",
  );
  return Number(rows[0]?.count);
}

async function allLogged(count: number): Promise<void> {
  await waitFor(`${count} records`, async () => (await logged()) >= count, patient);
  await waitFor(
    "an empty outbox",
    async () => (await gateway.db.query("SELECT 1 FROM outbox")).rows.length === 0,
    patient,
  );
  expect(await logged()).toBe(count);
}

/** Loses the next `count` events between bus and log, acknowledged, as a stream that lost them would. */
async function takeAway(count: number): Promise<number> {
  await intake[Symbol.asyncDispose]();
  await emit(count);
  const thief = await nats.bus("audit", log);
  let taken = 0;
  const [consumer] = streams.AUDIT.consumers;
  const stealing = thief.consume("AUDIT", consumer, AuditEventSchema, () => void taken++, { concurrency: 1 });
  await waitFor("the events to be lost", () => taken >= count);
  await stealing[Symbol.asyncDispose]();
  await thief[Symbol.asyncDispose]();
  intake = await startIntake();
  return taken;
}

async function inLog(epoch: string, sequence: number): Promise<boolean> {
  const sql = "SELECT 1 FROM records WHERE producer = 'gateway' AND epoch = $1 AND sequence = $2";
  return (await parts.db.query(sql, [epoch, sequence])).rows.length === 1;
}

async function firstDead() {
  const bus = await nats.bus("governance", log);
  const dead = bus.replay(
    "DEAD",
    subjects.dead("AUDIT", subjects.audit("gateway", "request.released").split(".").at(-1)!),
    DeadLetterSchema,
  );
  const { value } = await dead.next();
  await bus[Symbol.asyncDispose]();
  return value?.message;
}
