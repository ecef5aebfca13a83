/**
 * The chamber's spans and metrics come as bus messages, since it can reach nothing else. Governance passes on what the
 * tables allow: spans to the collector, if there is one, metrics to its own /metrics.
 */
import { TelemetryMessageSchema } from "@sallyport/proto/sallyport/bus/v1/telemetry";
import { coreSubjects, type ServiceName, subjects } from "@sallyport/proto/subjects";
import { ChamberMetrics, ChamberReader, cached, type SpanRecord, traceExport } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { listAllModels } from "../db/models.ts";

const askEveryMs = 5_000;
/** Messages that wait for the registry's word; more are dropped. */
const maxWaiting = 64;

export interface ChamberTelemetry extends Disposable {
  /** Prometheus text. */
  text(): string;
}

export function listenToChamber({ bus, clock, db }: Pick<Context, "bus" | "clock" | "db">): ChamberTelemetry {
  const metrics = new ChamberMetrics();
  const now = () => clock.now().getTime();
  const readers = new Map(
    coreSubjects.telemetry.writers.map((service: ServiceName) => [
      subjects.telemetry(service),
      new ChamberReader(service),
    ]),
  );
  const onSpan = (span: SpanRecord, service: string) => traceExport()?.forward(span, service);
  const approvedNow = cached(askEveryMs, async () => {
    const models = (await listAllModels(db)).filter(({ state }) => state === "approved");
    return { names: new Set(models.map(({ name }) => name)), digests: new Set(models.map(({ digest }) => digest)) };
  });
  let waiting = 0;
  const stop = bus.onSignal(coreSubjects.telemetry.pattern, TelemetryMessageSchema, async (message, { subject }) => {
    if (waiting >= maxWaiting) return;
    waiting += 1;
    const approved = await approvedNow().finally(() => {
      waiting -= 1;
    });
    readers.get(subject)?.take(message, { approved, onSpan, metrics, now });
  });
  return { text: () => metrics.text(now()), [Symbol.dispose]: stop };
}
