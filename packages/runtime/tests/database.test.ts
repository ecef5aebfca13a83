import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Db, migrate, openDatabase, parseDatabaseUrl } from "../src/db/index.ts";
import { asAppError, toAckAction } from "../src/errors.ts";
import { createLogger } from "../src/logger.ts";
import { createTestCa, startTestPostgres, type TestDatabase, type TestPostgres, waitFor } from "../testing/index.ts";

const log = createLogger("test", "error");
let postgres: TestPostgres;
let target: TestDatabase;
let db: Db;

beforeAll(async () => {
  postgres = await startTestPostgres();
  target = await postgres.database();
  db = await openDatabase({ ...target, log, max: 4 });
  await db.query("CREATE TABLE notes (id text PRIMARY KEY, n integer NOT NULL)");
});
afterAll(async () => {
  await db.close();
  await postgres[Symbol.asyncDispose]();
});

const count = async (id: string) => (await db.query("SELECT 1 FROM notes WHERE id = $1", [id])).rowCount;

function migrationDir(files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), "migrations-"));
  for (const [name, sql] of Object.entries(files)) writeFileSync(join(dir, name), sql);
  return dir;
}

describe("database URL", () => {
  it.each([
    "postgres://role:password@127.0.0.1:5432/db",
    "postgres://role@127.0.0.1/db?sslmode=disable",
    "postgres://127.0.0.1/db",
    "postgres://role@127.0.0.1",
    "mysql://role@127.0.0.1/db",
    "nonsense",
  ])("%s is refused", (url) => expect(() => parseDatabaseUrl(url)).toThrow(/database URL/));

  it("is taken apart", () => {
    const parts = { host: "::1", port: 7092, user: "gateway", database: "sallyport" };
    expect(parseDatabaseUrl("postgres://gateway@[::1]:7092/sallyport")).toEqual(parts);
  });
});

describe("connection", () => {
  it("is refused when the server's certificate is of another CA", async () => {
    using other = await createTestCa();
    const stranger = await openDatabase({ ...target, caFile: other.caFile, log });
    await expect(stranger.query("SELECT 1")).rejects.toThrow(/certificate/);
    await stranger.close();
  });

  it("is encrypted and named", async () => {
    const sql =
      "SELECT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()";
    expect((await db.query(sql)).rows).toEqual([{ ssl: true, application_name: "sallyport" }]);
  });
});

describe("transaction", () => {
  it("calls a text with a NUL its sender's fault: it can be stored nowhere, however often it is tried", async () => {
    const store = async (sql: string, value: string) => db.transaction((tx) => tx.query(sql, [value]));
    const plain = await store("SELECT 1 FROM notes WHERE id = $1", "a\0b").catch(asAppError);
    const json = await store("SELECT ($1::jsonb)->>'a'", JSON.stringify({ a: "\0" })).catch(asAppError);
    for (const refused of [plain, json]) {
      expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_TEXT" });
      expect(toAckAction(refused)).toBe("term");
    }
  });

  it("stores all or nothing", async () => {
    const failing = db.transaction(async (tx) => {
      await tx.query("INSERT INTO notes VALUES ('a', 1)");
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(await count("a")).toBe(0);
  });

  it("does not pass off a transaction with an ignored failure as stored", async () => {
    const ignoring = db.transaction(async (tx) => {
      await tx.query("INSERT INTO notes VALUES ('b', 1)");
      await tx.query("SELECT nothing FROM nowhere").catch(() => undefined);
    });
    await expect(ignoring).rejects.toThrow(/ignored/);
    expect(await count("b")).toBe(0);
  });

  it("stores nothing when a statement that nobody waited for fails, and says which fault it was", async () => {
    const sent = db.transaction(async (tx) => {
      tx.send("INSERT INTO notes VALUES ($1, $2)", ["sent", 1]);
      tx.send("INSERT INTO notes VALUES ($1, $2)", ["sent", 2]);
      tx.send("INSERT INTO notes VALUES ($1, $2)", ["behind", 3]);
    });
    await expect(sent).rejects.toMatchObject({ code: "23505" });
    expect(await count("sent")).toBe(0);
    expect(await count("behind")).toBe(0);
    expect(await db.transaction(async (tx) => tx.send("INSERT INTO notes VALUES ($1, $2)", ["sent", 1]))).toBe(
      undefined,
    );
    expect(await count("sent")).toBe(1);
  });

  it("opens with a statement that is part of it, and tells how many rows that changed", async () => {
    await db.query("INSERT INTO notes VALUES ($1, $2)", ["opened", 1]);
    const opening = "UPDATE notes SET n = n + 1 WHERE id = 'opened'";
    const undone = db.transaction(() => Promise.reject(new Error("changed my mind")), { opening });
    await expect(undone).rejects.toThrow("changed my mind");
    expect(await db.transaction(async (_, opened) => opened, { opening })).toBe(1);
    expect((await db.query("SELECT n FROM notes WHERE id = $1", ["opened"])).rows).toEqual([{ n: 2 }]);
    const broken = { opening: "UPDATE nothing_such SET n = 1" };
    await expect(db.transaction(async () => "never", broken)).rejects.toMatchObject({ code: "42P01" });
    expect(await count("opened")).toBe(1);
  });

  it("cannot be used after its end", async () => {
    const kept = await db.transaction(async (tx) => tx);
    await expect(kept.query("SELECT 1")).rejects.toThrow(/after its end/);
  });

  it("runs again after a serialisation failure, and stores one of the runs", async () => {
    await db.query("INSERT INTO notes VALUES ('counter', 0)");
    const increment = () =>
      db.transaction(
        async (tx) => {
          await tx.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
          const { rows } = await tx.query<{ n: number }>("SELECT n FROM notes WHERE id = 'counter'");
          await tx.query("UPDATE notes SET n = $1 WHERE id = 'counter'", [rows[0]!.n + 1]);
        },
        { attempts: 50 },
      );
    await Promise.all(Array.from({ length: 8 }, increment));
    expect((await db.query("SELECT n FROM notes WHERE id = 'counter'")).rows).toEqual([{ n: 8 }]);
  });

  it("runs again when the session is terminated before COMMIT", async () => {
    const admin = await postgres.admin();
    let runs = 0;
    await db.transaction(async (tx) => {
      runs += 1;
      await tx.query("INSERT INTO notes VALUES ('terminated', $1)", [runs]);
      const { rows } = await tx.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
      if (runs === 1) await admin.query("SELECT pg_terminate_backend($1, 5000)", [rows[0]!.pid]);
    });
    await admin.end();
    expect(runs).toBe(2);
    expect((await db.query("SELECT n FROM notes WHERE id = 'terminated'")).rows).toEqual([{ n: 2 }]);
  });

  it("says COMMIT_UNKNOWN when the session ends during COMMIT, and does not run again", async () => {
    const admin = await postgres.admin();
    // A deferred trigger that sleeps keeps COMMIT busy for as long as we need to end the session.
    await db.query(
      `CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$`,
    );
    await db.query("CREATE TABLE dozing (id integer)");
    await db.query(
      "CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON dozing DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doze()",
    );
    let runs = 0;
    const committing = db.transaction(async (tx) => {
      runs += 1;
      await tx.query("INSERT INTO dozing VALUES (1)");
    });
    committing.catch(() => undefined);
    const terminate =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
    await waitFor("COMMIT to be under way", async () => (await admin.query(terminate)).rowCount === 1);
    await expect(committing).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "COMMIT_UNKNOWN" });
    expect(runs).toBe(1);
    await admin.end();
  });
});

describe("a killed server", () => {
  it("does not end the process, and is used again once it is back", async () => {
    await db.query("SELECT 1");
    await postgres.kill();
    // Orphaned sessions answer until they notice.
    await waitFor("the sessions to end", async () => {
      const error = await db.query("SELECT 1").catch((thrown: unknown) => thrown);
      return (error as { reason?: string }).reason === "DATABASE_UNAVAILABLE";
    });
    const started = postgres.start();
    const stored = db.transaction((tx) => tx.query("INSERT INTO notes VALUES ('back', 1)"), { attempts: 100 });
    await started;
    await stored;
    expect(await count("back")).toBe(1);
  });

  it("that hangs is given up in time", async () => {
    const quick = await openDatabase({ ...target, log, statementTimeoutMs: 300 });
    await quick.query("SELECT 1");
    const admin = await postgres.admin();
    const { rows } = await admin.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'sallyport'");
    for (const { pid } of rows) process.kill(pid, "SIGSTOP");
    const began = performance.now();
    await expect(quick.transaction((tx) => tx.query("SELECT 1"), { attempts: 1 })).rejects.toMatchObject({
      reason: "DATABASE_UNAVAILABLE",
    });
    expect(performance.now() - began).toBeLessThan(6_000);
    for (const { pid } of rows) process.kill(pid, "SIGCONT");
    await admin.end();
    await quick.close();
  });
});

describe("migrations", () => {
  it("apply once, in order, also when several processes start at once", async () => {
    const fresh = await postgres.database();
    const [one, two] = await Promise.all([openDatabase({ ...fresh, log }), openDatabase({ ...fresh, log })]);
    const dir = migrationDir({
      "001-a.sql": "CREATE TABLE a (x integer);",
      "002-b.sql": "INSERT INTO a VALUES (1); INSERT INTO a VALUES (2);",
    });
    await Promise.all([migrate(one, dir), migrate(two, dir)]);
    expect((await one.query("SELECT x FROM a ORDER BY x")).rows).toEqual([{ x: 1 }, { x: 2 }]);
    const { rows } = await one.query("SELECT name FROM migrations ORDER BY applied_at, name");
    expect(rows.map(({ name }) => name)).toEqual(["runtime/001-outbox.sql", "001-a.sql", "002-b.sql"]);

    const changed = migrationDir({ "001-a.sql": "CREATE TABLE a (y integer);", "002-b.sql": "SELECT 1;" });
    await expect(migrate(one, changed)).rejects.toMatchObject({ reason: "MIGRATION_MISMATCH" });
    await expect(migrate(one, migrationDir({}))).rejects.toMatchObject({ reason: "MIGRATION_MISMATCH" });
    await one.close();
    await two.close();
  });

  it("leave nothing of one that fails, and refuse gaps in the numbers", async () => {
    const fresh = await openDatabase({ ...(await postgres.database()), log });
    await expect(
      migrate(fresh, migrationDir({ "001-a.sql": "CREATE TABLE a (x integer); SELECT 1 / 0;" })),
    ).rejects.toThrow(/zero/);
    await expect(fresh.query("SELECT * FROM a")).rejects.toThrow(/does not exist/);
    await expect(migrate(fresh, migrationDir({ "002-a.sql": "" }))).rejects.toThrow(/001-name/);
    await fresh.close();
  });
});
