import { jetstreamManager } from "@nats-io/jetstream";
import { type AuditEvent, AuditEventSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { ConfirmMessageSchema, ControlMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type StreamSpec, streams, subjects } from "@sallyport/proto/subjects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Bus, createConfirmer } from "../src/bus/index.ts";
import { systemClock, systemIds } from "../src/clock.ts";
import { createOutbox, type Db, migrate, type Outbox, type OutboxMessage, openDatabase } from "../src/db/index.ts";
import { createLogger } from "../src/logger.ts";
import { startTestNats, startTestPostgres, type TestNats, type TestPostgres, waitFor } from "../testing/index.ts";

const log = createLogger("test", (process.env.TEST_LOG ?? "error") as "error");
const jobs: StreamSpec = { ...streams.JOBS, retention: "limits" };
const noMigrations = new URL("./no-migrations/", import.meta.url).pathname;

let nats: TestNats;
let postgres: TestPostgres;
let bus: Bus;
let db: Db;
let outbox: Outbox;

beforeAll(async () => {
  [nats, postgres] = await Promise.all([startTestNats(), startTestPostgres()]);
  await nats.provision([jobs, streams.AUDIT]);
  bus = await nats.bus("gateway", log);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});
beforeEach(async () => {
  db = await openDatabase({ ...(await postgres.database()), log });
  await migrate(db, noMigrations);
  await db.query("CREATE TABLE facts (id text PRIMARY KEY)");
  outbox = newOutbox();
});
afterEach(async () => {
  await outbox[Symbol.asyncDispose]();
  await db.close();
});

const newOutbox = (limits = {}) =>
  createOutbox({ db, bus, producer: "gateway", ids: systemIds, clock: systemClock, log, limits });

const job = (id: string): OutboxMessage => ({
  stream: "JOBS",
  subject: subjects.job("m", id),
  msgId: id,
  schema: ControlMessageSchema,
  message: { requestId: id },
  confirm: false,
});
const audit = (id: string): OutboxMessage => ({
  audit: { event: "request.accepted", build: () => ({ requestId: id, record: new TextEncoder().encode(id) }) },
});
const fact = (id: string, ...messages: OutboxMessage[]) =>
  outbox.commit(async (tx) => {
    await tx.query("INSERT INTO facts VALUES ($1)", [id]);
    return { value: id, messages };
  });
const facts = async () => (await db.query<{ id: string }>("SELECT id FROM facts ORDER BY id")).rows.map(({ id }) => id);
const rows = async () => (await db.query("SELECT msg_id FROM outbox")).rowCount;

/** What the stream stored, by a full read. */
async function stored(stream: string): Promise<number> {
  const nc = await nats.admin();
  const { state } = await (await jetstreamManager(nc)).streams.info(stream);
  await nc.close();
  return state.messages;
}

/** Plays the audit service: collects, and confirms unless told not to. */
function auditor(options: { confirm: boolean } = { confirm: true }) {
  const events: AuditEvent[] = [];
  const ids: string[] = [];
  const confirmer = createConfirmer(bus);
  const [spec] = streams.AUDIT.consumers;
  const consumption = bus.consume(
    "AUDIT",
    spec,
    AuditEventSchema,
    (event, { msgId }) => {
      events.push(event);
      ids.push(msgId);
      if (options.confirm) confirmer.confirm("gateway", msgId);
    },
    { concurrency: 64 },
  );
  const mine = () => events.filter(({ epoch }) => epoch === outbox.epoch);
  return { events, ids, mine, consumption, sequences: () => mine().map(({ sequence }) => Number(sequence)) };
}

describe("commit", () => {
  it("stores state and message together, publishes right after, and forgets on the stream's acknowledgement", async () => {
    const before = await stored("JOBS");
    expect(await fact("one", job("job-one"))).toBe("one");
    expect(await facts()).toEqual(["one"]);
    await waitFor("publication", async () => (await stored("JOBS")) === before + 1);
    await waitFor("deletion", async () => (await rows()) === 0);
  });

  it("groups what waits, and fails only the faulty one", async () => {
    const all = await Promise.allSettled(["a", "b", "a", "c"].map((id) => fact(id, job(`group-${id}`))));
    expect(all.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(await facts()).toEqual(["a", "b", "c"]);
  });

  it("shares transactions under load", async () => {
    const transactions = "SELECT committed FROM outbox_epochs WHERE epoch = $1";
    await Promise.all(Array.from({ length: 300 }, (_, n) => fact(`load-${n}`)));
    const { rows } = await db.query<{ committed: string }>(transactions, [outbox.epoch]);
    expect(Number(rows[0]!.committed)).toBeLessThan(20);
    expect(await facts()).toHaveLength(300);
  });

  it("numbers audit events in commit order without gaps, whatever fails beside them", async () => {
    const listening = auditor();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, (_, n) =>
        outbox.commit(async (tx, places) => {
          const place = places.next();
          await tx.query("INSERT INTO facts VALUES ($1)", [`n${n}`]);
          if (n % 3 === 1) throw new Error("refused");
          // Every other one builds its record first, with its place.
          if (n % 2) return { value: n, messages: [audit(`n${n}`)] };
          const { producer, epoch, sequence } = place;
          const message = {
            $typeName: AuditEventSchema.typeName,
            producer,
            epoch,
            sequence: BigInt(sequence),
            record: new Uint8Array([1]),
            bodies: [],
            requestId: `n${n}`,
            terminal: false,
          } as AuditEvent;
          return { value: n, messages: [{ audit: { event: "request.accepted", message } }] };
        }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === "rejected")).toHaveLength(20);
    await waitFor("all events", () => listening.mine().length >= 40);
    expect(listening.sequences().sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n + 1));
    await waitFor("confirmation of all", async () => (await rows()) === 0);
    await listening.consumption[Symbol.asyncDispose]();
  });

  it("refuses an audit event that skips a place", async () => {
    const skipping = outbox.commit(async (_, places) => {
      places.next();
      const { producer, epoch, sequence } = places.next();
      const message = {
        $typeName: AuditEventSchema.typeName,
        producer,
        epoch,
        sequence: BigInt(sequence),
        record: new Uint8Array([1]),
        bodies: [],
        requestId: "",
        terminal: false,
      } as AuditEvent;
      return { value: 0, messages: [{ audit: { event: "request.accepted", message } }] };
    });
    await expect(skipping).rejects.toMatchObject({ reason: "AUDIT_PLACE" });
  });

  it("keeps a message once whose id waits already", async () => {
    await nats.kill();
    await fact("first", job("twice"));
    await fact("second", job("twice"));
    expect(await rows()).toBe(1);
    await nats.start();
    await waitFor("deletion", async () => (await rows()) === 0);
  });

  it("refuses more than its queue holds", async () => {
    await outbox[Symbol.asyncDispose]();
    outbox = newOutbox({ queue: 5 });
    const results = await Promise.allSettled(Array.from({ length: 9 }, (_, n) => fact(`q${n}`)));
    const reasons = results.map((result) => (result.status === "rejected" ? result.reason.reason : "ok"));
    expect(reasons.filter((reason) => reason === "OUTBOX_FULL").length).toBe(4);
    expect(await facts()).toHaveLength(5);
  });
});

/** COMMIT of any group stays busy for a while, so that the session can be ended within it. */
async function slowCommits(database: Db, ms: number): Promise<void> {
  await database.query(
    `CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(${ms / 1_000}); RETURN NULL; END $$`,
  );
  await database.query(
    `CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON facts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doze()`,
  );
}
const committing = "FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";

describe("an unknown COMMIT", () => {
  it("that was not stored is done again, once", async () => {
    await slowCommits(db, 1_000);
    const admin = await postgres.admin();
    const stored = fact("again", audit("again"));
    await waitFor(
      "COMMIT to be under way",
      async () => (await admin.query(`SELECT pg_terminate_backend(pid) ${committing}`)).rowCount === 1,
    );
    expect(await stored).toBe("again");
    expect(await facts()).toEqual(["again"]);
    const { rows } = await db.query("SELECT sequence FROM outbox");
    expect(rows).toEqual([{ sequence: "1" }]);
    await admin.end();
  });

  it("that was stored is not done again", async () => {
    // The connection is cut between us and the server while COMMIT runs on: as a network does it.
    const { cuttingProxy } = await import("./cutting-proxy.ts");
    const target = await postgres.database();
    await using proxy = await cuttingProxy(Number(new URL(target.url).port));
    const url = target.url.replace(/:\d+\//, `:${proxy.port}/`);
    const cut = await openDatabase({ ...target, url, log });
    await migrate(cut, noMigrations);
    await cut.query("CREATE TABLE facts (id text PRIMARY KEY)");
    await slowCommits(cut, 500);
    await using through = createOutbox({ db: cut, bus, producer: "gateway", ids: systemIds, clock: systemClock, log });
    const admin = await postgres.admin();
    let runs = 0;
    const stored = through.commit(async (tx) => {
      runs += 1;
      await tx.query("INSERT INTO facts VALUES ('kept')");
      return { value: runs, messages: [audit("kept")] };
    });
    await waitFor("COMMIT to be under way", async () => (await admin.query(`SELECT 1 ${committing}`)).rowCount === 1);
    proxy.cut();
    const value = await stored;
    // Where it ran again, that was undone, and the first result stands.
    expect(value).toBe(1);
    expect((await cut.query("SELECT id FROM facts")).rows).toEqual([{ id: "kept" }]);
    expect((await cut.query("SELECT sequence FROM outbox")).rows).toEqual([{ sequence: "1" }]);
    await through.commit(async () => ({ value: 2, messages: [audit("next")] }));
    expect((await cut.query("SELECT sequence FROM outbox ORDER BY id")).rows).toEqual([
      { sequence: "1" },
      { sequence: "2" },
    ]);
    await admin.end();
    await cut.close();
  });
});

describe("a COMMIT that takes longer than anybody waits", () => {
  it("leaves its outcome open, and the next ones are stored", async () => {
    const { cuttingProxy } = await import("./cutting-proxy.ts");
    const target = await postgres.database();
    await using proxy = await cuttingProxy(Number(new URL(target.url).port));
    const cut = await openDatabase({ ...target, url: target.url.replace(/:\d+\//, `:${proxy.port}/`), log });
    await migrate(cut, noMigrations);
    await cut.query("CREATE TABLE facts (id text PRIMARY KEY)");
    // Longer than a lock is waited for (5 s): so long the group's claim cannot be asked what became of it.
    await slowCommits(cut, 8_000);
    const options = { db: cut, bus, producer: "gateway" as const, ids: systemIds, clock: systemClock, log };
    await using through = createOutbox({ ...options, limits: { withinMs: 3_000 } });
    const admin = await postgres.admin();
    const stored = through.commit(async (tx) => {
      await tx.query("INSERT INTO facts VALUES ('slow')");
      return { value: 1, messages: [audit("slow")] };
    });
    const failure = stored.catch((error: unknown) => error);
    await waitFor("COMMIT to be under way", async () => (await admin.query(`SELECT 1 ${committing}`)).rowCount === 1);
    proxy.cut();
    expect(await failure).toMatchObject({ reason: "COMMIT_UNKNOWN" });
    for (const name of ["next", "after"])
      expect(await through.commit(async () => ({ value: name, messages: [audit(name)] }))).toBe(name);
    await admin.end();
    await cut.close();
  }, 30_000);
});

describe("delivery", () => {
  it("survives Postgres killed under load: every commit that succeeded is there, and every audit event arrives once", async () => {
    const listening = auditor();
    const outcomes: Promise<PromiseSettledResult<string>[]> = Promise.allSettled(
      Array.from({ length: 200 }, async (_, n) => {
        await new Promise((resolve) => setTimeout(resolve, n * 5));
        return await fact(`kill-${n}`, audit(`kill-${n}`));
      }),
    );
    await waitFor("some commits", async () => (await facts()).length > 20);
    await postgres.kill();
    await postgres.start();
    const good = (await outcomes).flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(good.length).toBe(200);
    expect(await facts()).toEqual(good.sort());
    await waitFor("all events confirmed", async () => (await rows()) === 0, { timeoutMs: 20_000 });
    const ids = new Set(listening.mine().map(({ requestId }) => requestId));
    expect([...ids].sort()).toEqual(good.sort());
    const sequences = new Set(listening.sequences());
    expect([...sequences].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
    await listening.consumption[Symbol.asyncDispose]();
  });

  it("loses nothing on a bus that is killed and wiped, confirmed or not", async () => {
    const deaf = auditor({ confirm: false });
    await fact("w1", audit("w1"));
    await waitFor("a delivery", () => deaf.mine().length === 1);
    await deaf.consumption[Symbol.asyncDispose]();
    await nats.kill();
    nats.wipe();
    await fact("w2", audit("w2"));
    await nats.start();
    await nats.provision([jobs, streams.AUDIT]);
    const listening = auditor();
    await waitFor("both", () => new Set(listening.sequences()).size === 2, { timeoutMs: 20_000 });
    await waitFor("confirmation", async () => (await rows()) === 0);
    await listening.consumption[Symbol.asyncDispose]();
  });

  it("goes on with what a process that died has left", async () => {
    await outbox[Symbol.asyncDispose]();
    const left =
      "INSERT INTO outbox (msg_id, epoch, stream, subject, type, payload, confirm, due_at) VALUES ($1, $2, 'JOBS', 'jobs.m.left', 't', '', false, now() + interval '50 seconds')";
    await db.query(left, ["left-behind", systemIds.uuid()]);
    const before = await stored("JOBS");
    outbox = newOutbox();
    await waitFor("publication", async () => (await stored("JOBS")) === before + 1);
    await waitFor("deletion", async () => (await rows()) === 0);
  });

  it("sends at once what the consumer says is missing, although the stream knows its id", async () => {
    const listening = auditor({ confirm: false });
    await fact("m1", audit("m1"), audit("m2"), audit("m3"));
    await waitFor("all", () => listening.mine().length === 3);
    const missing = [{ epoch: outbox.epoch, first: 2n, last: 2n }];
    bus.signal(subjects.confirm("gateway"), ConfirmMessageSchema, { messageIds: [], missing });
    await waitFor("the missing one", () => listening.mine().length === 4, { timeoutMs: 3_000 });
    expect(listening.sequences().at(-1)).toBe(2);
    expect(listening.ids.at(-1)).toBe(`gateway.${outbox.epoch}.2`);
    await listening.consumption[Symbol.asyncDispose]();
  });
});
