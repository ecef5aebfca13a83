import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLog } from "../src/core/open-log.ts";
import { recordPage } from "../src/db/read.ts";
import { gatewayEvent, subjectOf } from "./events.ts";
import { type ServiceParts, serviceParts } from "./service-parts.ts";

let parts: ServiceParts;
beforeAll(async () => {
  parts = await serviceParts();
});
afterAll(() => parts.close());

describe("an event from the bus", () => {
  it("is confirmed only after a signed head covers it", async () => {
    const event = gatewayEvent({ sequence: 1 });
    const before = (await parts.heads.read()).frontier.size;
    await parts.deliver(event);
    expect((await parts.heads.read()).frontier.size).toBe(before + 1);
    expect(parts.confirmed).toEqual([`gateway.${event.epoch}.1`]);
  });

  it("delivered again is confirmed again and logged once", async () => {
    const event = gatewayEvent({ sequence: 1 });
    const before = (await parts.heads.read()).frontier.size;
    await parts.deliver(event);
    expect((await parts.heads.read()).frontier.size).toBe(before);
    expect(parts.confirmed).toHaveLength(2);
  });

  it("that is poison ends for good, with the reason in the log, and is confirmed", async () => {
    const event = gatewayEvent({ sequence: 2 });
    event.record = Buffer.from("{}");
    const delivered = parts.deliver(event, subjectOf(gatewayEvent({ sequence: 2 })));
    await expect(delivered).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "RECORD_VERSION" });
    expect(parts.confirmed).toHaveLength(3);
    expect((await lastRecord()).detail).toMatchObject({ reason: "RECORD_VERSION", sequence: 2 });
  });

  it("in another's name ends for good and leaves no trace in the log", async () => {
    const event = gatewayEvent({ sequence: 3 });
    const before = await parts.heads.read();
    const delivered = parts.deliver(event, "audit.governance.request=2ereleased");
    await expect(delivered).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "PLACE_INVALID" });
    expect(await parts.heads.read()).toEqual(before);
    expect(parts.confirmed).toHaveLength(3);
  });

  it("among hundreds at once keeps its order", async () => {
    const first = (await parts.heads.read()).frontier.size;
    const sequences = Array.from({ length: 600 }, (_, i) => i + 3);
    await Promise.all(sequences.map((sequence) => parts.deliver(gatewayEvent({ sequence }))));
    const page = await recordPage(parts.db, { from: first, end: first + 600, events: [], limit: 600 });
    expect(page.map(({ json }) => JSON.parse(Buffer.from(json).toString()).sequence)).toEqual(sequences);
  });
});

describe("opening the log", () => {
  it("of a running one goes on with it", async () => {
    const { size } = (await parts.heads.read()).frontier;
    await openLog(parts);
    expect(await lastRecord()).toMatchObject({ event: "log.started", detail: { size } });
  });

  it("with another key, or after tiles, head or records were changed, is refused", async () => {
    const refused = () => expect(openLog(parts)).rejects.toMatchObject({ reason: "LOG_DAMAGED" });
    const other = await serviceParts();
    const borrowed = { ...parts, writer: other.writer };
    await expect(openLog(borrowed)).rejects.toMatchObject({ reason: "LOG_DAMAGED" });
    await other.close();
    const flip = (table: string, column: string) =>
      parts.db.query(`UPDATE ${table} SET ${column} = set_byte(${column}, 5, get_byte(${column}, 5) # 1)`);
    for (const [table, column] of [
      ["tiles", "hashes"],
      ["head", "frontier"],
    ] as const) {
      await flip(table, column);
      await refused();
      await flip(table, column);
    }
    await parts.db.query("UPDATE head SET size = size - 1");
    await refused();
    await parts.db.query("UPDATE head SET size = size + 1");
    await openLog(parts);
  });
});

async function lastRecord(): Promise<Record<string, unknown>> {
  const { size } = (await parts.heads.read()).frontier;
  const [record] = await recordPage(parts.db, { from: size - 1, end: size, events: [], limit: 1 });
  return JSON.parse(Buffer.from(record!.json).toString());
}
