/** What somebody with every right in the database can do to the log, and what its writer makes of it. */
import { randomUUID } from "node:crypto";
import { createLogger, type Db, systemClock } from "@sallyport/runtime";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLog, type Item } from "../src/core/append-batch.ts";
import { type Appender, createAppender } from "../src/core/appender.ts";
import { readHead } from "../src/db/log.ts";
import { auditDatabase, testSigner } from "./database.ts";
import { readGatewayEvent } from "./events.ts";

const signer = testSigner("log.example/audit");
let db: Db;
let appender: Appender;

beforeAll(async () => {
  db = await auditDatabase();
  await db.transaction((tx) => createLog(tx, signer, new Date()));
  const writer = { signer, epoch: randomUUID() };
  const log = createLogger("audit", "error");
  appender = createAppender({ db, writer, clock: systemClock, log, onHead: () => {} });
});
afterAll(() => db?.close());

const event = (sequence: number): Item => ({
  kind: "event",
  event: readGatewayEvent({ sequence }),
  key: undefined,
});

test("P3: an old head that is put back, with the records after it removed, is not signed on", async () => {
  await appender.submit(event(1));
  const old = await db.query("SELECT * FROM head");
  const tiles = await db.query("SELECT * FROM tiles");
  await appender.submit(event(2));
  expect((await readHead(db))!.frontier.size).toBe(2);

  await db.transaction(async (tx) => {
    await tx.query("ALTER TABLE records DISABLE TRIGGER USER");
    await tx.query("DELETE FROM records WHERE index >= 1");
    const { size, frontier, checkpoint } = old.rows[0] as Record<string, unknown>;
    await tx.query("UPDATE head SET size = $1, frontier = $2, checkpoint = $3", [size, frontier, checkpoint]);
    const { hashes } = tiles.rows[0] as Record<string, unknown>;
    await tx.query("UPDATE tiles SET hashes = $1", [hashes]);
  });
  await expect(appender.submit(event(3))).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LOG_DAMAGED" });
  expect(appender.damaged).toBe(true);
  expect((await readHead(db))!.frontier.size).toBe(1);
});
