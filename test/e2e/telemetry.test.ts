/** What an operator sees of the running platform: traces in a collector, metrics, and lines of the logs; never content. */
import { readFileSync } from "node:fs";
import { Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CollectedSpan, type Collector, settledTrace, startCollector } from "../kit/collector.ts";
import { bootPlatform, decide, grpcClients, model, type TestPlatform } from "../kit/index.ts";
import { scrapeAll, waitForChamber } from "../kit/scrape.ts";

const outside = services.filter((service) => service !== "inference-worker");
/** In prompts alone: nobody else has a reason to write it. */
const needle = "Quixotic-Zephyr-4711";
const traceId = (digit: string) => digit.repeat(32);
const callersSpan = "c0ffee00c0ffee00";
const callersTrace = (digit: string) => ({ traceparent: `00-${traceId(digit)}-${callersSpan}-00` });

let collector: Collector;
let sallyport: TestPlatform;
beforeAll(async () => {
  collector = await startCollector();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, LOG_LEVEL: "debug" };
  const extraEnv = Object.fromEntries(outside.map((service) => [service, env]));
  sallyport = await bootPlatform("telemetry", {
    extraEnv: { ...extraEnv, "inference-worker": { LOG_LEVEL: "debug" } },
  });
  await waitForChamber(sallyport.platform);
}, 180_000);
afterAll(async () => {
  await sallyport?.[Symbol.asyncDispose]();
  await collector?.[Symbol.asyncDispose]();
}, 60_000);

const ask = (content: string, digit: string, body: object = {}) =>
  sallyport.http("/v1/chat/completions", {
    headers: callersTrace(digit),
    body: { model, messages: [{ role: "user", content }], max_tokens: 60, temperature: 0, ...body },
  });

const trace = (digit: string, enough: (spans: CollectedSpan[]) => boolean) =>
  settledTrace(collector, traceId(digit), enough);

const one = (spans: readonly CollectedSpan[], service: string, name: string) => {
  const found = spans.find((span) => span.service === service && span.name === name);
  if (!found) throw new Error(`no ${name} of ${service} among ${spans.map((span) => `${span.service}: ${span.name}`)}`);
  return found;
};

let answer = "";
let released: CollectedSpan[] = [];

describe("a released chat is one trace", () => {
  beforeAll(async () => {
    const response = await ask(`Tell me about ${needle} and the sea.`, "1");
    expect(response.status).toBe(200);
    const body = (await response.json()) as { choices: { message: { content: string } }[] };
    answer = body.choices[0]!.message.content;
    released = await trace("1", (spans) => {
      const appended = spans.filter(({ service, name }) => service === "audit" && name === "append").length;
      return appended >= 2 && spans.some(({ service }) => service === "inference-worker");
    });
  }, 60_000);

  test("with every service in it, and the caller's span above all", () => {
    const part = new Set(released.map(({ service }) => service));
    expect([...part].sort()).toEqual(["audit", "gateway", "inference-worker", "post-moderator", "pre-moderator"]);
    const ids = new Set(released.map(({ spanId }) => spanId));
    expect(ids.size).toBe(released.length);
    const tops = released.filter(({ parentSpanId }) => !ids.has(parentSpanId));
    expect(tops).toMatchObject([
      { service: "gateway", name: "POST /v1/chat/completions", kind: 2, parentSpanId: callersSpan },
    ]);
  });

  test("each hop hangs from the one that led to it", () => {
    const hops = [
      [
        "gateway",
        "sallyport.moderation.v1.PreModerationService/JudgeRequest",
        "pre-moderator",
        "sallyport.moderation.v1.PreModerationService/JudgeRequest",
      ],
      ["pre-moderator", "sallyport.moderation.v1.PreModerationService/JudgeRequest", "pre-moderator", "judge door1"],
      ["gateway", "publish JOBS", "inference-worker", "process JOBS"],
      ["inference-worker", "process JOBS", "inference-worker", `chat ${model}`],
      ["inference-worker", "publish WINDOWS", "post-moderator", "process WINDOWS"],
      ["post-moderator", "publish VERDICTS", "gateway", "process VERDICTS"],
      ["gateway", "publish AUDIT", "audit", "process AUDIT"],
      ["audit", "process AUDIT", "audit", "append"],
    ] as const;
    for (const [service, name, nextService, nextName] of hops) {
      const parents = new Set(
        released.filter((span) => span.service === service && span.name === name).map(({ spanId }) => spanId),
      );
      const next = released.filter((span) => span.service === nextService && span.name === nextName);
      const found = next.filter(({ parentSpanId }) => parents.has(parentSpanId));
      expect(found.length, `${service} ${name} → ${nextService} ${nextName}`).toBeGreaterThan(0);
    }
  });

  test("says which model, how much and how it ended, by the conventions for generative AI", () => {
    const root = one(released, "gateway", "POST /v1/chat/completions").attributes;
    expect(root).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.request.model": model,
      "http.response.status_code": 200,
      "sallyport.state": "released",
    });
    const run = one(released, "inference-worker", `chat ${model}`);
    expect(run.attributes).toMatchObject({ "gen_ai.provider.name": "llama", "gen_ai.request.max_tokens": 60 });
    expect(run.attributes["gen_ai.usage.output_tokens"]).toBeGreaterThan(3);
    expect(root["gen_ai.usage.output_tokens"]).toBe(run.attributes["gen_ai.usage.output_tokens"]);
    expect(run.end > run.start).toBe(true);
    expect(one(released, "pre-moderator", "judge door1").attributes).toMatchObject({ "sallyport.decision": "allow" });
  });

  test("nothing but traces was sent, and no span failed", () => {
    expect(collector.others).toEqual([]);
    expect(released.filter(({ failed }) => failed)).toEqual([]);
  });
});

describe("a refusal and a hold are traces too", () => {
  test("what door 1 blocks ends there, with its code", async () => {
    expect((await ask(`SALLYPORT-BLOCK-ME ${needle}`, "2")).status).toBe(400);
    const spans = await trace("2", (some) => some.some(({ name }) => name === "append"));
    expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(["gateway", "pre-moderator", "audit"]));
    expect(one(spans, "gateway", "POST /v1/chat/completions").attributes).toMatchObject({
      "sallyport.state": "blocked",
      "http.response.status_code": 400,
    });
    expect(one(spans, "pre-moderator", "judge door1").attributes).toMatchObject({ "sallyport.decision": "deny" });
  }, 60_000);

  test("what is held reaches governance in the same trace, and goes on in it once a person let it in", async () => {
    using clients = grpcClients(sallyport.platform);
    const answer = await ask(`SALLYPORT-REVIEW-ME ${needle}`, "3");
    expect(answer.status).toBe(403);
    await decide(sallyport, clients, answer.headers.get("x-request-id")!, ReviewDecision.ALLOW);
    const spans = await trace("3", (some) => some.some(({ name }) => name === "process VERDICTS"));
    expect(new Set(spans.map(({ service }) => service)).size).toBe(6);
    const held = one(spans, "governance", "process HELD");
    expect(one(spans, "gateway", "publish HELD").spanId).toBe(held.parentSpanId);
  }, 60_000);

  test("gRPC is traced like HTTP", async () => {
    using clients = grpcClients(sallyport.platform);
    const traceparent = callersTrace("4").traceparent;
    const content = {
      model,
      messages: [{ role: Role.USER, content: `Hello ${needle}` }],
      parameters: { maxTokens: 20 },
    };
    const call = clients.generation.chat(
      { content },
      { bearer: sallyport.token("user"), deadlineMs: 60_000, traceparent },
    );
    for await (const _ of call);
    const spans = await trace("4", (some) => some.filter(({ name }) => name === "append").length >= 2);
    expect(one(spans, "gateway", "sallyport.generation.v1.GenerationService/Chat").parentSpanId).toBe(callersSpan);
    expect(new Set(spans.map(({ service }) => service)).size).toBe(5);
  }, 60_000);
});

describe("no content, no token, no key", () => {
  const secrets = () => [needle, "SALLYPORT-BLOCK-ME", answer.slice(0, 24), sallyport.token("user").slice(0, 60)];
  const absent = (where: string, text: string) => {
    for (const secret of secrets()) {
      expect(secret.length).toBeGreaterThan(10);
      expect(text.includes(secret), `a secret of ${secret.length} characters in ${where}`).toBe(false);
    }
  };

  test("in any span", () => absent("spans", collector.raw().toString("latin1")));

  test("in any line of any log", () => {
    for (const service of services) absent(service, readFileSync(sallyport.platform.service(service).logFile, "utf8"));
  });

  test("in any metric", async () => {
    for (const [service, text] of Object.entries(await scrapeAll(sallyport.platform))) absent(service, text);
  });
});

describe("the logs", () => {
  interface Line {
    level: string;
    msg: string;
    requestId?: string;
    traceId?: string;
  }
  const lines = (service: ServiceName) =>
    readFileSync(sallyport.platform.service(service).logFile, "utf8")
      .split("\n")
      .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));

  test("say of every line about a request which request and which trace", () => {
    const about = services.flatMap((service) => lines(service)).filter(({ requestId }) => requestId !== undefined);
    expect(about.length).toBeGreaterThan(3);
    expect(about.filter((line) => line.traceId === undefined)).toEqual([]);
  });

  test("lead from a span to the lines of the same request in other services", () => {
    const { "sallyport.request.id": id } = one(released, "gateway", "POST /v1/chat/completions").attributes;
    for (const service of ["pre-moderator", "inference-worker"] as const) {
      const found = lines(service).filter(({ requestId }) => requestId === id);
      expect(found.length, service).toBeGreaterThan(0);
      expect(
        found.every((line) => line.traceId === traceId("1")),
        service,
      ).toBe(true);
    }
  });
});

describe("without its collector", () => {
  test("the platform goes on, and says that spans were lost", async () => {
    await collector[Symbol.asyncDispose]();
    expect((await ask("Hello", "5")).status).toBe(200);
    await waitFor(
      "lost spans counted",
      async () =>
        /sallyport_spans_exported_total\{outcome="lost"[^}]*\} [1-9]/.test(
          (await scrapeAll(sallyport.platform)).gateway,
        ),
      { timeoutMs: 20_000, everyMs: 500 },
    );
  }, 60_000);
});
