/** The configuration that we ship for an OpenTelemetry collector, in a real one: the traces of the platform come through it whole. */
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { services } from "@sallyport/proto/subjects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultHome, openHome } from "../../infra/local/home.ts";
import { findOtelCollector } from "../../infra/local/otel-collector/find.ts";
import { type CollectedSpan, type Collector, settledTrace, startCollector } from "../kit/collector.ts";
import { bootPlatform, decide, grpcClients, model, type TestPlatform } from "../kit/index.ts";
import { type OtelCollector, startOtelCollector } from "../kit/otel-collector.ts";
import { waitForChamber } from "../kit/scrape.ts";

let why = "";
const found = await findOtelCollector({
  cacheDir: openHome(defaultHome()).binDir,
  log: (line) => {
    why = line;
    console.log(line);
  },
});
if (!found) console.log(`skipped: traces through a real OpenTelemetry collector. ${why}`);

/** In the prompt alone: nobody else has a reason to write it. */
const needle = "Quixotic-Zephyr-4712";
const traceId = "7".repeat(32);
const callersSpan = "c0ffee00c0ffee01";

describe.skipIf(!found)("a request that a person let in, in a real collector with the shipped configuration", () => {
  let store: Collector;
  let collector: OtelCollector;
  let sallyport: TestPlatform;
  let spans: CollectedSpan[];
  let answer = "";

  beforeAll(async () => {
    store = await startCollector();
    collector = await startOtelCollector(found!, store.url);
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    const outside = services.filter((service) => service !== "inference-worker");
    const extraEnv = Object.fromEntries(outside.map((service) => [service, env]));
    sallyport = await bootPlatform("collector", { extraEnv });
    await waitForChamber(sallyport.platform);
    const held = await sallyport.http("/v1/chat/completions", {
      headers: { traceparent: `00-${traceId}-${callersSpan}-00` },
      body: { model, messages: [{ role: "user", content: `SALLYPORT-REVIEW-ME ${needle}` }], max_tokens: 40 },
    });
    using clients = grpcClients(sallyport.platform);
    const id = held.headers.get("x-request-id")!;
    await decide(sallyport, clients, id, ReviewDecision.ALLOW);
    spans = await settledTrace(store, traceId, (some) => some.some(({ name }) => name === "process VERDICTS"));
    const view = await sallyport.http(`/v1/requests/${id}`, { method: "GET" });
    const { output } = (await view.json()) as { output: { text: string }[] };
    answer = output.map(({ text }) => text).join("");
  }, 180_000);
  afterAll(async () => {
    await sallyport?.[Symbol.asyncDispose]();
    await collector?.[Symbol.asyncDispose]();
    await store?.[Symbol.asyncDispose]();
  }, 60_000);

  test("is one trace with every service in it that has a part in a text request", () => {
    const part = services.filter((service) => service !== "watermarker");
    expect([...new Set(spans.map(({ service }) => service))].sort()).toEqual([...part].sort());
  });

  test("comes out whole: each span once, each below the one that led to it, and nothing but traces", () => {
    const ids = new Set(spans.map(({ spanId }) => spanId));
    expect(ids.size).toBe(spans.length);
    const tops = spans.filter(({ parentSpanId }) => !ids.has(parentSpanId));
    expect(tops).toMatchObject([{ service: "gateway", parentSpanId: callersSpan }]);
    expect(store.others).toEqual([]);
    expect(collector.complaints()).toEqual([]);
  });

  test("has no content, no token and no key in it", () => {
    const sent = store.raw().toString("latin1");
    for (const secret of [needle, "SALLYPORT-REVIEW-ME", answer.slice(0, 16), sallyport.token("user").slice(0, 60)]) {
      expect(secret.length).toBeGreaterThan(10);
      expect(sent.includes(secret), `a secret of ${secret.length} characters`).toBe(false);
    }
  });
});
