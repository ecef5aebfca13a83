/** A real Prometheus over the running platform: scrapes every second, evaluates the shipped rules, answers queries. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Platform } from "@sallyport/infra/platform";
import { services } from "@sallyport/proto/subjects";
import { freePort } from "@sallyport/runtime/testing";
import { startProgram } from "./program.ts";

export const alertRules = fileURLToPath(new URL("../../infra/prometheus/alerts.yml", import.meta.url));

export interface RunningPrometheus extends AsyncDisposable {
  /** The result vector of an instant query. Throws what Prometheus says is wrong with it. */
  query(expr: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]>;
  rules(): Promise<{ name: string; health: string; state: string; lastError?: string }[]>;
}

export async function startPrometheus(program: string, platform: Platform): Promise<RunningPrometheus> {
  const home = mkdtempSync(join(tmpdir(), "sallyport-prometheus-"));
  const port = await freePort();
  const outside = services.filter((service) => service !== "inference-worker");
  const targets = outside.map((service) => `127.0.0.1:${platform.ports.health[service]}`);
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    rule_files: [alertRules],
    scrape_configs: [{ job_name: "sallyport", static_configs: [{ targets }] }],
  };
  // JSON is YAML.
  writeFileSync(join(home, "prometheus.yml"), JSON.stringify(config));
  const ask = async <T>(path: string, body?: URLSearchParams): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...(body && { method: "POST", body }),
      signal: AbortSignal.timeout(10_000),
    });
    const { status, error, data } = (await response.json()) as { status: string; error?: string; data: T };
    if (status !== "success") throw new Error(`${path}: ${error}`);
    return data;
  };
  const query = async (expr: string) =>
    (await ask<{ result: [] }>("/api/v1/query", new URLSearchParams({ query: expr }))).result;
  const args = [
    `--config.file=${join(home, "prometheus.yml")}`,
    `--storage.tsdb.path=${join(home, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--log.level=error",
  ];
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(home, { recursive: true, force: true }));
  // Every target up.
  stack.use(await startProgram(program, args, async () => (await query("up == 1")).length === targets.length));
  const started = stack.move();
  return {
    query,
    rules: async () => {
      const { groups } = await ask<{ groups: { rules: [] }[] }>("/api/v1/rules");
      return groups.flatMap(({ rules }) => rules);
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}
