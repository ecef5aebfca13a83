/**
 * /livez, /readyz and /metrics on a port of their own. Liveness says only that the event loop turns; readiness may ask
 * for neighbours. Nothing else is served, and nothing is read from the request but method and path.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Address } from "./env.ts";
import { listenHttp } from "./http-server.ts";
import { metricsText } from "./telemetry/metrics.ts";
import { startProcessMetrics } from "./telemetry/process.ts";

const readyTimeoutMs = 1_000;

export interface Readiness {
  ready: boolean;
  /** Name of a need → "ok", or in a few words what is wrong with it. Shown to anyone who asks. */
  checks: Record<string, string>;
}

export interface HealthOptions {
  ready: () => Readiness | Promise<Readiness>;
  /** More in Prometheus text format, put after the metrics of this process (telemetry/metrics.ts). */
  metrics?: () => string | Promise<string>;
}

export interface Health extends AsyncDisposable {
  readonly address: Address;
}

/** Rejects with the socket's error (EADDRINUSE, …) when it cannot listen. */
export async function startHealth(address: Address, options: HealthOptions): Promise<Health> {
  startProcessMetrics();
  const server = createServer({ maxHeaderSize: 8_192, requestTimeout: 5_000, headersTimeout: 5_000 }, (req, res) => {
    answer(req, res, options).catch(() => res.destroy());
  });
  server.maxConnections = 64;
  return listenHttp(server, address);
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { ready, metrics }: HealthOptions,
): Promise<void> {
  const path = request.url?.split("?", 1)[0];
  if (request.method !== "GET" && request.method !== "HEAD") return send(response, 405, { error: "GET or HEAD only" });
  if (path === "/livez") return send(response, 200, { live: true });
  if (path === "/readyz") {
    const readiness = await readinessOf(ready);
    return send(response, readiness.ready ? 200 : 503, readiness);
  }
  if (path === "/metrics") {
    const text = (await metricsText()) + ((await metrics?.()) ?? "");
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(text);
    return;
  }
  send(response, 404, { error: "there are /livez, /readyz and /metrics" });
}

/** A check that throws or takes long means not ready. */
async function readinessOf(ready: HealthOptions["ready"]): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Readiness>((resolve) => {
    timer = setTimeout(resolve, readyTimeoutMs, { ready: false, checks: { readiness: "no answer in time" } });
  });
  try {
    return await Promise.race([Promise.resolve().then(ready), late]);
  } catch {
    return { ready: false, checks: { readiness: "could not be determined" } };
  } finally {
    clearTimeout(timer);
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(`${JSON.stringify(body)}\n`);
}
