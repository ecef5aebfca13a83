import { create } from "@bufbuild/protobuf";
import { type TelemetryMessage, TelemetryMessageSchema } from "@sallyport/proto/sallyport/bus/v1/telemetry";
import { expect, test } from "vitest";
import {
  ChamberMetrics,
  ChamberReader,
  chamberMetrics,
  counter,
  histogram,
  metricsText,
  runBuckets,
  type SpanRecord,
  sendTelemetry,
  withSpan,
} from "../src/index.ts";
import { limits } from "../src/telemetry/chamber/tables.ts";

const secret = "SALLYPORT-BLOCK-ME";
const digest = "d".repeat(64);
const approved = { names: new Set(["pilot-text"]), digests: new Set([digest]) };
const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16), sampled: true };
const requestId = "0190a000-0000-7000-8000-000000000001";

function reader(now = () => Date.now()) {
  const spans: SpanRecord[] = [];
  const metrics = new ChamberMetrics();
  const one = new ChamberReader("inference-worker");
  const take = (message: TelemetryMessage) =>
    one.take(message, { approved, onSpan: (span) => spans.push(span), metrics, now });
  return { spans, metrics, take };
}

const counted = (metrics: ChamberMetrics, now = Date.now()) => metrics.text(now).replace(/^#.*\n/gm, "");

/** What the worker's own code sends, as the reader gets it. */
async function sent(work: () => Promise<void>): Promise<TelemetryMessage[]> {
  const messages: TelemetryMessage[] = [];
  const bus = {
    service: "inference-worker" as const,
    signal: (_subject: string, _schema: unknown, message: object) =>
      void messages.push(create(TelemetryMessageSchema, message as TelemetryMessage)),
  };
  const sender = sendTelemetry(bus as unknown as Parameters<typeof sendTelemetry>[0]);
  await work();
  await sender[Symbol.asyncDispose]();
  return messages;
}

const job = { "messaging.destination.name": "JOBS", "sallyport.request.id": requestId } as const;
const chat = {
  "gen_ai.request.model": "pilot-text",
  "sallyport.model.digest": digest,
  "gen_ai.usage.output_tokens": 7,
};
const run = () =>
  withSpan("process JOBS", { kind: "consumer", parent: trace, attributes: job }, async () => {
    await withSpan("chat pilot-text", { kind: "client", attributes: chat }, async () => {});
  });

test("what the worker records comes out whole, in its trace", async () => {
  const { spans, take } = reader();
  for (const message of await sent(run)) take(message);
  expect(spans).toMatchObject([
    { name: "chat pilot-text", kind: 2, traceId: trace.traceId, attributes: chat },
    { name: "process JOBS", kind: 4, parentSpanId: trace.spanId, attributes: job },
  ]);
  expect(spans[0]!.parentSpanId).toBe(spans[1]!.spanId);
});

test("nothing is recorded of a request that nobody traces", async () => {
  const { spans, take } = reader();
  const quiet = () => withSpan("process JOBS", { parent: { ...trace, sampled: false } }, async () => {});
  for (const message of await sent(quiet)) take(message);
  expect(spans).toEqual([]);
});

test("a compromised worker gets no text out: a span that is wrong anywhere is dropped whole", async () => {
  const { spans, take } = reader();
  const [good] = (await sent(run)).filter((message) => message.spans.length > 0);
  const chatSpan = good!.spans[0]!;
  const text = (key: string, value: string) => ({ key, value: { case: "text" as const, value } });
  const wrong: object[] = [
    { name: `chat ${secret}` },
    { name: secret },
    { attributes: [text("gen_ai.request.model", "another-model")] },
    { attributes: [text("gen_ai.prompt", secret)] },
    { attributes: [text("error.type", "SALLYPORT_BLOCK_ME")] },
    { attributes: [text("messaging.consumer.group.name", secret)] },
    { attributes: [text("sallyport.request.id", secret)] },
    { attributes: [text("sallyport.model.digest", "e".repeat(64))] },
    { attributes: [text("gen_ai.operation.name", "chat"), text("gen_ai.operation.name", "chat")] },
    { attributes: Array.from({ length: 17 }, () => text("gen_ai.operation.name", "chat")) },
    { attributes: [{ key: "gen_ai.usage.output_tokens", value: { case: "number" as const, value: 1e300 } }] },
    { traceId: Buffer.from(secret.padEnd(64, "x")) },
    { parentSpanId: new Uint8Array() },
    { kind: 99 },
    { durationMs: 1e15 },
    { startUnixMs: 0 },
    { $unknown: [{ no: 99, wireType: 2, data: Buffer.from(secret) }] },
  ];
  for (const change of wrong) take({ ...good!, spans: [{ ...chatSpan, ...change }] } as TelemetryMessage);
  take({ ...good!, instance: secret });
  take({ ...good!, $unknown: [{ no: 99, wireType: 2, data: Buffer.from(secret) }] });
  take({ ...good!, spans: Array.from({ length: 65 }, () => chatSpan) });
  expect(spans).toEqual([]);
  take(good!);
  expect(spans).toHaveLength(2);
});

test("spans and messages beyond the rate are dropped, and the next second's are taken", async () => {
  let now = Date.now();
  const { spans, take } = reader(() => now);
  const [good] = (await sent(run)).filter((message) => message.spans.length > 0);
  const full = { ...good!, spans: Array.from({ length: limits.spansPerMessage }, () => good!.spans[0]!) };
  for (let at = 0; at < 1_000; at += 1) take(full);
  const most = limits.spans.burst;
  expect(spans.length).toBeLessThanOrEqual(most);
  expect(spans.length).toBeGreaterThan(most / 2);
  spans.length = 0;
  now += 1_000;
  take(full);
  expect(spans).toHaveLength(limits.spansPerMessage);
});

test("metrics outside are those of the worker's own registry, and grow across its restarts", async () => {
  const { metrics, take } = reader();
  const runs = counter("sallyport_worker_runs_total", chamberMetrics.sallyport_worker_runs_total!.help, ["outcome"]);
  const seconds = histogram("sallyport_worker_run_seconds", "Runs.", [], runBuckets);
  const once = async () => {
    runs.inc({ outcome: "done" });
    seconds.observe({}, 0.2);
  };
  for (const message of await sent(once)) take(message);
  const line = (outcome: string, count: number) =>
    `sallyport_worker_runs_total{component="inference-worker",outcome="${outcome}"} ${count}\n`;
  expect(metrics.text(Date.now())).toContain(line("done", 1));
  // Another instance, as after a restart, that begins with what this registry holds.
  for (const message of await sent(once)) take(message);
  expect(metrics.text(Date.now())).toContain(line("done", 3));
  expect(metrics.text(Date.now())).toMatch(/# TYPE sallyport_worker_run_seconds histogram\n/);
  expect(metrics.text(Date.now())).toMatch(
    /sallyport_worker_run_seconds_bucket\{component="inference-worker",le="0.25"\} 3\n/,
  );
  expect(await metricsText()).toContain('sallyport_chamber_telemetry_total{what="sample",outcome="taken"}');
});

test("a metric, a label or a value that is not in the table does not get out", () => {
  const { metrics, take } = reader();
  const sample = (name: string, labels: Record<string, string>, value = 1) => ({
    name,
    value,
    labels: Object.entries(labels).map(([label, text]) => ({ name: label, value: text })),
  });
  const samples = [
    sample(secret, {}),
    sample("sallyport_worker_runs_total", { outcome: secret }),
    sample("sallyport_worker_runs_total", { outcome: "done", more: secret }),
    sample("sallyport_worker_runs_total", {}),
    sample("sallyport_worker_running", {}, Number.NaN),
    sample("sallyport_worker_running", {}, -1),
    sample("sallyport_worker_running_bucket", { le: "1" }),
    sample("sallyport_worker_run_seconds", {}),
    sample("sallyport_worker_run_seconds_bucket", { le: secret }),
    sample("sallyport_worker_tokens_total", { model: "another-model" }),
  ];
  take(create(TelemetryMessageSchema, { instance: "0".repeat(16), samples }));
  expect(counted(metrics)).toBe("");
});

test("so many processes at once, and a silent one is forgotten", () => {
  let now = Date.now();
  const { metrics, take } = reader(() => now);
  const tell = (at: number) => {
    now += 1_000;
    take(
      create(TelemetryMessageSchema, {
        instance: at.toString(16).padStart(16, "0"),
        samples: [{ name: "sallyport_worker_running", value: 1 }],
      }),
    );
  };
  for (let at = 0; at < 40; at += 1) tell(at);
  expect(metrics.text(now)).toContain(`sallyport_worker_running{component="inference-worker"} ${limits.instances}\n`);
  expect(counted(metrics, now + limits.silentMs * 2)).toBe("");
});
