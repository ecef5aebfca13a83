/** Messages delivered twice and out of order: exact copies of what the services sent, sent again by their own credentials. */
import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Platform } from "@sallyport/infra/platform";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { VerdictMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { type ServiceName, subjects } from "@sallyport/proto/subjects";
import { type Bus, connectBus, createLogger, delay } from "@sallyport/runtime";
import pg from "pg";
import { seedFile } from "../../../infra/local/nats/config.ts";
import { certificateFiles } from "../../../infra/local/pki.ts";
import { sessionOptions } from "../../../infra/local/postgres/grants.ts";
import { GATEWAY_ID } from "../../../infra/local/services.ts";
import { query } from "../../kit/index.ts";

interface Copy {
  readonly stream: string;
  readonly subject: string;
  readonly type: string;
  readonly payload: Buffer;
  readonly msgId: string;
}

const lookEveryMs = 15;

/** Keeps what passes through a service's outbox, until `over` aborts: what the log and the others will be sent again. */
export async function collectOutbox(platform: Platform, role: "gateway" | "governance", over: AbortSignal) {
  const copies = new Map<string, Copy>();
  const sql = `SELECT stream, subject, type, payload, msg_id AS "msgId" FROM outbox ORDER BY id`;
  const session = new pg.Client(sessionOptions(platform.home, platform.ports.postgres, role));
  session.on("error", () => {});
  try {
    await session.connect();
    while (!over.aborted) {
      for (const copy of (await session.query<Copy>(sql)).rows) copies.set(copy.msgId, copy);
      await delay(lookEveryMs, over).catch(() => {});
    }
  } catch {
    // Another fault took the database away: what was seen until then will do.
  } finally {
    await session.end().catch(() => {});
  }
  return [...copies.values()];
}

/** Each under a new Nats-Msg-Id, as a stream that forgot the first would store it; newest first. Returns how many. */
export async function sendAgain(platform: Platform, as: ServiceName, copies: readonly Copy[]): Promise<number> {
  await using bus = await busAs(platform, as);
  let sent = 0;
  for (const { stream, subject, type, payload, msgId } of copies.toReversed()) {
    await bus.publishBytes(stream, subject, type, payload, { msgId: `${msgId}~${crypto.randomUUID()}`, id: msgId });
    sent += 1;
  }
  return sent;
}

type Released = { id: string; attempt: number; index: number; envelope: Buffer; content: Buffer; final: boolean };

/** Verdicts of the newest windows that were released, once more, the last first. */
export async function repeatVerdicts(platform: Platform, count: number): Promise<number> {
  const sql = `SELECT r.id, w.attempt, w.index, w.envelope, w.content, w.final FROM windows w JOIN requests r ON r.id = w.request_id
    ORDER BY r.created_at DESC, w.index DESC LIMIT $1`;
  const windows = await query<Released>(platform, "gateway", sql, [count]);
  const copies = windows.map(({ id, attempt, index, envelope, content, final }): Copy => {
    const window = { decision: Decision.ALLOW, envelope: fromBinary(EnvelopeSchema, envelope), content, final };
    const body = { case: "window" as const, value: window };
    const message = create(VerdictMessageSchema, { requestId: id, attempt, index, body });
    const payload = Buffer.from(toBinary(VerdictMessageSchema, message));
    const subject = subjects.verdict(GATEWAY_ID, id);
    return { stream: "VERDICTS", subject, type: VerdictMessageSchema.typeName, payload, msgId: `${id}.${index}` };
  });
  return await sendAgain(platform, "post-moderator", copies.toReversed());
}

async function busAs({ home, ports }: Platform, service: ServiceName): Promise<Bus> {
  const { cert, key, ca } = certificateFiles(home, service);
  return await connectBus({
    url: `tls://127.0.0.1:${ports.nats}`,
    nkeySeed: readFileSync(seedFile(home, service), "utf8").trim(),
    tls: { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) },
    service,
    log: createLogger(service, "error"),
  });
}
