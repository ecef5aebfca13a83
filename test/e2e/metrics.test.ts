/** Every metric that a dashboard or an alert asks for is there, and a real Prometheus answers every query with data. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dashboards } from "../../infra/grafana/panels.ts";
import { defaultHome, openHome } from "../../infra/local/home.ts";
import { findPrometheus, type Prometheus } from "../../infra/local/prometheus/find.ts";
import { bootPlatform, decide, grpcClients, model, type TestPlatform } from "../kit/index.ts";
import { alertRules, type RunningPrometheus, startPrometheus } from "../kit/prometheus.ts";
import { scrape, scrapeAll } from "../kit/scrape.ts";

let why = "";
const found: Prometheus | undefined = await findPrometheus({
  cacheDir: openHome(defaultHome()).binDir,
  log: (line) => {
    why = line;
  },
});
if (!found) console.log(`skipped: queries against a real Prometheus. ${why}`);

const queries = dashboards.flatMap(({ id, panels }) =>
  panels.flatMap(({ title, queries }) =>
    queries.map(({ expr }) => ({ where: `${id}: ${title}`, expr: expr.replaceAll("$__rate_interval", "1m") })),
  ),
);
const names = (text: string) => [
  ...new Set(
    [...text.matchAll(/\b((?:sallyport|process|nodejs)_[a-z0-9_]+)\b/g)].map(([, name]) =>
      name!.replace(/_(bucket|sum|count)$/, ""),
    ),
  ),
];

let sallyport: TestPlatform;
let shown = "";
beforeAll(async () => {
  sallyport = await bootPlatform("metrics");
  for (const content of ["Tell me about the sea.", "SALLYPORT-BLOCK-ME", "Hello"]) await ask(content);
  using clients = grpcClients(sallyport.platform);
  const held = await ask("SALLYPORT-REVIEW-ME");
  await decide(sallyport, clients, held.headers.get("x-request-id")!, ReviewDecision.DENY);
  await sallyport.http("/v1/moderations", { body: { input: "Hello" } });
  await waitFor(
    "the chamber's metrics at governance",
    async () =>
      (await scrape(sallyport.platform, "governance")).includes(
        'sallyport_worker_runs_total{component="inference-worker",outcome="done"} ',
      ),
    { timeoutMs: 20_000, everyMs: 500 },
  );
  const { "inference-worker": _, ...outside } = await scrapeAll(sallyport.platform);
  shown = Object.values(outside).join("\n");
}, 180_000);
afterAll(async () => await sallyport?.[Symbol.asyncDispose](), 60_000);

const ask = (content: string) =>
  sallyport.http("/v1/chat/completions", {
    body: { model, messages: [{ role: "user", content }], max_tokens: 40, temperature: 0 },
  });
const samples = () => shown.split("\n").filter((line) => /^[a-z]/.test(line));

describe("what is asked for is there", () => {
  const asked = names([...queries.map(({ expr }) => expr), readFileSync(alertRules, "utf8")].join("\n"));

  test.each(asked)("%s", (name) => expect(shown.includes(`# TYPE ${name} `)).toBe(true));

  test("the worker's metrics come through governance as the worker counts them", async () => {
    const line = (text: string) => /sallyport_worker_runs_total\{[^}]*outcome="done"[^}]*\} (\d+)/.exec(text)?.[1];
    expect(line(shown)).toBe(line(await scrape(sallyport.platform, "inference-worker")));
  });

  test("no label holds an id, a person or a text, and the series are few", () => {
    expect(samples().length).toBeGreaterThan(500);
    expect(samples().length).toBeLessThan(6_000);
    for (const sample of samples()) {
      expect(sample).not.toMatch(/[{,](tenant|subject|request|request_id|user|prompt)=/);
      expect(sample).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}|[0-9a-f]{32}/);
    }
  });
});

describe.skipIf(!found)("a real Prometheus", () => {
  let prometheus: RunningPrometheus;
  beforeAll(async () => {
    prometheus = await startPrometheus(found!.prometheus, sallyport.platform);
    // Rates need two samples that differ in time; new traffic makes them differ in value too.
    const before = (await prometheus.query("sum(sallyport_requests_ended_total)"))[0]!.value[1];
    await ask("Hello again");
    await waitFor(
      "rates",
      async () => (await prometheus.query("sum(sallyport_requests_ended_total)"))[0]!.value[1] !== before,
      { timeoutMs: 20_000, everyMs: 500 },
    );
  }, 90_000);
  afterAll(async () => await prometheus?.[Symbol.asyncDispose](), 30_000);

  test.each(queries)("answers $where", async ({ expr }) => {
    const answered = async () => (await prometheus.query(expr)).length > 0;
    const counted = names(expr).every((name) => samples().some((line) => line.startsWith(name)));
    // Of what never happened here there is nothing to show, nor of what is narrowed down to failures.
    if (counted && !/[!=]=?"|=~/.test(expr))
      await waitFor(`an answer to ${expr}`, answered, { timeoutMs: 25_000, everyMs: 500 });
    else await answered();
  });

  test("takes every rule, and a platform that is well alerts nobody", async () => {
    await waitFor(
      "rules evaluated",
      async () => (await prometheus.rules()).every(({ health }) => health !== "unknown"),
      {
        timeoutMs: 20_000,
        everyMs: 500,
      },
    );
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(15);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    expect(rules.filter(({ state }) => state === "firing").map(({ name }) => name)).toEqual([]);
  });

  test("the rules fire when they should and not before, by promtool's own tests", () => {
    const tests = fileURLToPath(new URL("../../infra/prometheus/alerts.test.yml", import.meta.url));
    expect(execFileSync(found!.promtool, ["test", "rules", tests], { encoding: "utf8" })).toContain("SUCCESS");
  });
});
