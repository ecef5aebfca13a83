/** A real Prometheus over the running platform: scrapes every second, evaluates the shipped rules, answers queries. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Platform } from "@sallyport/infra/platform";
import { services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";

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
  const child = spawn(
    program,
    [
      `--config.file=${join(home, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(home, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=error",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const ask = async <T>(path: string, body?: URLSearchParams): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...(body && { method: "POST", body }),
      signal: AbortSignal.timeout(10_000),
    });
    const { status, error, data } = (await response.json()) as { status: string; error?: string; data: T };
    if (status !== "success") throw new Error(`${path}: ${error}`);
    return data;
  };
  const running: RunningPrometheus = {
    query: async (expr) => (await ask<{ result: [] }>("/api/v1/query", new URLSearchParams({ query: expr }))).result,
    rules: async () => {
      const { groups } = await ask<{ groups: { rules: [] }[] }>("/api/v1/rules");
      return groups.flatMap(({ rules }) => rules);
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      rmSync(home, { recursive: true, force: true });
    },
  };
  try {
    await waitFor(
      "every target up in Prometheus",
      async () => {
        if (child.exitCode !== null) return true;
        return (await running.query("up == 1")).length === targets.length;
      },
      { timeoutMs: 30_000, everyMs: 200 },
    );
    if (child.exitCode !== null) throw new Error(`prometheus ended: ${said}`);
    return running;
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
