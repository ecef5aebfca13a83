import { type AuditEvent, AuditEventSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { streams } from "@sallyport/proto/subjects";
import { type MessageMeta, type Readiness, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { startGapWatch } from "./core/gaps.ts";
import { startVaultRotation } from "./core/vault-rotation.ts";
import { logEvent } from "./handlers/log-event.ts";
import { countLag, observeLog } from "./metrics.ts";
import { serveAuditors, serveFiles, serveNeighbours } from "./servers.ts";

/** Events in flight: the appender gathers them into batches. */
const concurrency = 256;

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { appender, bus, confirmer, config, db, log, policy, switches } = context;
  stack.use(db);
  stack.use(bus);
  stack.use(policy);
  stack.use(switches);
  stack.use(confirmer);
  stack.use(startVaultRotation(context));
  stack.defer(() => appender.close());
  const [consumer] = streams.AUDIT.consumers;
  const handle = async (event: AuditEvent, { subject, timestampMs }: MessageMeta) => {
    await logEvent(context, event, subject);
    countLag(event.producer, timestampMs, context.clock.now());
  };
  stack.use(bus.consume("AUDIT", consumer, AuditEventSchema, handle, { concurrency }));
  stack.use(startGapWatch(context));
  stack.use(observeLog(context));
  stack.use(await serveAuditors(context));
  stack.use(await serveNeighbours(context));
  stack.use(await serveFiles(context));
  stack.use(await startHealth(config.healthAddress, { ready: () => readiness(context) }));
  log.info({ grpc: config.grpcAddress, http: config.httpAddress, origin: config.logOrigin }, "listening");
  signal.throwIfAborted();
  return stack.move();
}

async function readiness({ appender, bus, db, policy, switches }: Context): Promise<Readiness> {
  const database = await db.query("SELECT 1").then(
    () => "ok",
    () => "unreachable",
  );
  const freshness = ({ fresh }: { fresh: boolean }) => (fresh ? "ok" : "stale");
  const log = appender.damaged ? "damaged" : "ok";
  const states = { log, policy: freshness(policy), switches: freshness(switches) };
  const checks = { bus: bus.connected ? "ok" : "disconnected", database, ...states };
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
