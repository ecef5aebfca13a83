/** Ledger and log filled in bulk, by what the services themselves use: their tables, and the log's own appender. */
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { jetstream } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { canonicalBytes } from "@sallyport/attestation";
import type { Platform } from "@sallyport/infra/platform";
import { AuditEventSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { connectAs } from "../kit/bus-user.ts";
import { query } from "../kit/database.ts";

const templates = 200;
const inFlight = 500;
const appendMs = 180_000;

/** Copies of finished requests with their windows; returns the new ids. Their secrets do not open: nothing reads them. */
export async function fillLedger(platform: Platform, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  const own = new Set(["id", "request_id", "idempotency_key"]);
  const columns = async (table: string) =>
    (
      await query<{ name: string }>(
        platform,
        "gateway",
        `SELECT quote_ident(attname) AS name FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
        [table],
      )
    )
      .map(({ name }) => name)
      .filter((name) => !own.has(name));
  const [request, window] = [await columns("requests"), await columns("windows")];
  const of = (alias: string, names: readonly string[]) => names.map((name) => `${alias}.${name}`).join(", ");
  const sql = `WITH template AS MATERIALIZED (
      SELECT r.*, row_number() OVER () - 1 AS n, count(*) OVER () AS many
      FROM (SELECT * FROM requests WHERE state = 'released' LIMIT ${templates}) AS r),
    fresh AS MATERIALIZED (
      SELECT new.id AS fresh_id, t.* FROM unnest($1::uuid[]) WITH ORDINALITY AS new (id, position)
      JOIN template AS t ON t.n = new.position % t.many),
    stored AS (INSERT INTO requests (id, ${request.join(", ")}) SELECT fresh_id, ${of("fresh", request)} FROM fresh)
    INSERT INTO windows (request_id, ${window.join(", ")})
    SELECT fresh.fresh_id, ${of("w", window)} FROM fresh JOIN windows AS w ON w.request_id = fresh.id`;
  await query(platform, "gateway", sql, [ids]);
  return ids;
}

interface Template {
  readonly event: string;
  readonly terminal: boolean;
  readonly record: Record<string, unknown>;
}

/** Two records for each id, as large as those of real requests, through the bus and the audit service's own appender. */
export async function fillLog(platform: Platform, ids: readonly string[]): Promise<void> {
  const models = await templateRecords(platform);
  const before = await logSize(platform);
  const epoch = randomUUID();
  await using bus = await connectAs(platform, "gateway");
  const js = jetstream(bus.nc, { timeout: 30_000 });
  const events = ids.flatMap((id) => models.map((model) => ({ id, model })));
  for (let start = 0; start < events.length; start += inFlight) {
    const batch = events.slice(start, start + inFlight);
    await Promise.all(
      batch.map(({ id, model }, offset) => {
        const sequence = start + offset + 1;
        const hdrs = headers();
        hdrs.set("ce-id", `gateway.${epoch}.${sequence}`);
        hdrs.set("ce-type", AuditEventSchema.typeName);
        hdrs.set("ce-source", "gateway");
        const msgID = `gateway.${epoch}.${sequence}`;
        return js.publish(subjects.audit("gateway", model.event), eventBytes(model, id, epoch, sequence), {
          headers: hdrs,
          msgID,
        });
      }),
    );
    // What waits in the stream stays small.
    await appended(platform, before + start + batch.length - 4 * inFlight);
  }
  await appended(platform, before + events.length);
}

async function templateRecords(platform: Platform): Promise<Template[]> {
  const sql = `SELECT event, terminal, json FROM records WHERE event = $1 ORDER BY index LIMIT 1`;
  const wanted = ["request.accepted", "request.released"];
  const rows = await Promise.all(
    wanted.map((event) => query<{ event: string; terminal: boolean; json: Buffer }>(platform, "audit", sql, [event])),
  );
  return rows.flat().map(({ event, terminal, json }) => ({ event, terminal, record: JSON.parse(json.toString()) }));
}

function eventBytes({ record, terminal }: Template, requestId: string, epoch: string, sequence: number): Uint8Array {
  const place = { producer: "gateway", epoch, sequence };
  const request = { ...(record.request as object), id: requestId };
  const bytes = canonicalBytes({ ...record, ...place, request });
  return toBinary(
    AuditEventSchema,
    create(AuditEventSchema, { ...place, sequence: BigInt(sequence), record: bytes, requestId, terminal }),
  );
}

function appended(platform: Platform, size: number): Promise<unknown> {
  return waitFor("the log to take in what was sent", async () => (await logSize(platform)) >= size, {
    timeoutMs: appendMs,
    everyMs: 50,
  });
}

async function logSize(platform: Platform): Promise<number> {
  return Number((await query<{ size: string }>(platform, "audit", "SELECT size FROM head"))[0]!.size);
}
