import { randomUUID } from "node:crypto";
import type { Db } from "@sallyport/runtime";
import { leafHash, openCheckpoint, signatureType, verifierKeyOf, verifyProof } from "@sallyport/tlog";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { appendBatch, createLog, type Item, type Writer } from "../src/core/append-batch.ts";
import { proveConsistency, proveInclusion } from "../src/core/proofs.ts";
import { takeGaps } from "../src/db/arrivals.ts";
import { readHead } from "../src/db/log.ts";
import { recordAt } from "../src/db/read.ts";
import { auditDatabase, testSigner } from "./database.ts";
import { type EventOptions, gatewayEpoch, readGatewayEvent } from "./events.ts";

const origin = "log.example/audit";
const signer = testSigner(origin);
const trust = { origin, keys: [verifierKeyOf(signer, signatureType.ed25519)] };
const now = new Date("2026-01-02T03:04:05.678Z");
const opened: Db[] = [];
let db: Db;
let writer: Writer;

beforeEach(async () => {
  db = await auditDatabase();
  opened.push(db);
  writer = { signer, epoch: randomUUID() };
  await db.transaction((tx) => createLog(tx, signer, now));
});
afterAll(() => Promise.all(opened.map((one) => one.close())));

describe("appending", () => {
  it("gives every event a place, a signed head over it and a proof that verifies", async () => {
    for (const first of [1, 2, 4, 200, 300]) {
      const items = Array.from({ length: first === 300 ? 400 : 1 }, (_, i) => event({ sequence: first + i }));
      await append(items);
    }
    const head = await readHead(db);
    expect(openCheckpoint(head!.checkpoint, trust).size).toBe(404);
    for (const index of [0, 1, 2, 3, 4, 255, 256, 403]) {
      const record = (await recordAt(db, index))!;
      const proof = await proveInclusion(db, head!, record);
      expect(verifyProof(proof, leafHash(record.json), trust).index).toBe(index);
    }
    for (const [first, second] of [
      [0, 404],
      [1, 404],
      [255, 256],
      [256, 403],
      [404, 404],
    ] as const) {
      await proveConsistency(db, first, second);
    }
  });

  it("the same event twice, in one batch or in two, is one record", async () => {
    const outcomes = await append([event({ sequence: 1 }), event({ sequence: 1 }), event({ sequence: 2 })]);
    expect(outcomes).toMatchObject([
      { status: "logged", index: 0 },
      { status: "duplicate", index: 0 },
      { status: "logged", index: 1 },
    ]);
    const before = await readHead(db);
    expect(await append([event({ sequence: 2 })])).toMatchObject([{ status: "duplicate", index: 1 }]);
    expect(await readHead(db)).toEqual(before);
  });

  it("another event in a place that is taken is refused, and the log says so", async () => {
    await append([event({ sequence: 1 })]);
    const other = event({ sequence: 1, detail: "other" });
    expect(await append([other])).toMatchObject([{ status: "rejected", index: 1, reason: "PLACE_TAKEN" }]);
    expect(await recordJson(1)).toMatchObject({
      event: "log.rejected",
      producer: "audit",
      detail: { producer: "gateway", sequence: 1, reason: "PLACE_TAKEN" },
    });
    expect(await append([other, event({ sequence: 1 })])).toMatchObject([
      { status: "rejected", index: 1 },
      { status: "duplicate", index: 0 },
    ]);
  });

  it("poison leaves a record of its digest, its bytes in the database, and no gap", async () => {
    const place = { producer: "gateway", epoch: gatewayEpoch, sequence: 2 } as const;
    const bytes = Buffer.from("poison");
    const poison: Item = { kind: "poison", place, reason: "RECORD_NOT_CANONICAL", bytes };
    expect(await append([event({ sequence: 1 }), poison, poison, event({ sequence: 3 })])).toMatchObject([
      { status: "logged", index: 0 },
      { status: "rejected", index: 1 },
      { status: "rejected", index: 1 },
      { status: "logged", index: 2 },
    ]);
    const { rows } = await db.query<{ bytes: Buffer }>("SELECT bytes FROM rejections");
    expect(rows.map((row) => row.bytes.toString())).toEqual(["poison"]);
    expect(await gaps()).toEqual([]);
  });

  it("numbers its own records without gaps, whatever stands between them", async () => {
    const own: Item = { kind: "own", facts: { event: "log.started", detail: { origin, size: 0 } } };
    await append([own, event({ sequence: 1 }), own]);
    await append([own]);
    const records = await Promise.all([0, 2, 3].map(recordJson));
    expect(records.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  });

  it("nothing is written when anything in the batch cannot be", async () => {
    await append([event({ sequence: 1 })]);
    const before = await readHead(db);
    await db.query("UPDATE tiles SET hashes = hashes || hashes WHERE level = 0");
    await expect(append([event({ sequence: 2 })])).rejects.toThrow("tile 0/0");
    expect(await readHead(db)).toEqual(before);
    expect(await recordAt(db, 1)).toBeUndefined();
  });

  it("a second terminal record of a request is kept, and raises an alarm", async () => {
    const ended = (sequence: number) => event({ sequence, requestId: "r1", terminal: true });
    const append = (item: Item) => db.transaction((tx) => appendBatch(tx, [item], writer, now));
    expect((await append(ended(1))).twiceEnded).toEqual([]);
    expect((await append(ended(1))).twiceEnded).toEqual([]);
    expect(await append(ended(2))).toMatchObject({ outcomes: [{ status: "logged" }], twiceEnded: ["r1"] });
  });

  it("two writers never sign two histories", async () => {
    const second: Writer = { signer, epoch: randomUUID() };
    const rounds = Array.from({ length: 20 }, (_, i) => [
      append([event({ sequence: 2 * i + 1 })]),
      append([event({ sequence: 2 * i + 2 })], second),
    ]);
    await Promise.all(rounds.flat());
    const head = (await readHead(db))!;
    expect(head.frontier.size).toBe(40);
    await proveInclusion(db, head, (await recordAt(db, 17))!);
    expect(await gaps()).toEqual([]);
  });
});

describe("the schema", () => {
  it.each([
    "UPDATE records SET terminal = NOT terminal",
    "DELETE FROM records",
    "TRUNCATE records CASCADE",
    "DELETE FROM tiles",
    "TRUNCATE tiles",
  ])("refuses: %s", async (sql) => {
    await append([event({ sequence: 1 })]);
    await expect(db.query(sql)).rejects.toThrow("append-only");
  });
});

describe("a record that was changed behind the log's back", () => {
  it("gets no proof", async () => {
    await append([event({ sequence: 1 }), event({ sequence: 2 })]);
    const head = (await readHead(db))!;
    const record = (await recordAt(db, 1))!;
    const forged = { ...record, json: Buffer.from(`${Buffer.from(record.json).toString().replace("r1", "r2")}`) };
    await expect(proveInclusion(db, head, forged)).rejects.toMatchObject({ reason: "LOG_DAMAGED" });
    await db.query("UPDATE tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) WHERE level = 0");
    await expect(proveInclusion(db, head, record)).rejects.toMatchObject({ reason: "LOG_DAMAGED" });
  });
});

describe("gaps", () => {
  it("are seen, in ranges, and close when what was missing arrives", async () => {
    await append([3, 4, 7, 9, 10].map((sequence) => event({ sequence })));
    expect(await gaps()).toEqual([
      {
        ...{ producer: "gateway", epoch: gatewayEpoch },
        missing: [
          { first: 1, last: 2 },
          { first: 5, last: 6 },
          { first: 8, last: 8 },
        ],
      },
    ]);
    await append([1, 2, 6].map((sequence) => event({ sequence })));
    expect((await gaps())[0]?.missing).toEqual([
      { first: 5, last: 5 },
      { first: 8, last: 8 },
    ]);
    await append([5, 8].map((sequence) => event({ sequence })));
    expect(await gaps()).toEqual([]);
  });

  it("are not asked for at once, nor again and again", async () => {
    await append([event({ sequence: 2 })]);
    const at = (ms: number) => new Date(now.getTime() + ms);
    const take = (openSince: Date, askedBefore: Date, time: Date) =>
      db.transaction((tx) => takeGaps(tx, openSince, askedBefore, time));
    expect(await take(at(-1), at(0), at(0))).toEqual([]);
    expect(await take(at(0), at(0), at(1_000))).toHaveLength(1);
    expect(await take(at(1_000), at(999), at(2_000))).toEqual([]);
    expect(await take(at(1_000), at(1_000), at(2_000))).toHaveLength(1);
  });
});

function event(options: EventOptions): Item {
  return { kind: "event", event: readGatewayEvent(options), key: undefined };
}

async function append(items: readonly Item[], by: Writer = writer) {
  return (await db.transaction((tx) => appendBatch(tx, items, by, now))).outcomes;
}

function gaps() {
  const later = new Date(now.getTime() + 60_000);
  return db.transaction((tx) => takeGaps(tx, later, later, later));
}

async function recordJson(index: number) {
  return JSON.parse(Buffer.from((await recordAt(db, index))!.json).toString()) as Record<string, unknown>;
}
