/** What each service says of itself at its health address: /readyz and /metrics. */
import { parseMetrics, type Sample, type Samples, single } from "./prometheus.ts";

const probeTimeoutMs = 2_000;
const maxReadyBytes = 64 * 1024;
const maxMetricsBytes = 4 * 1024 * 1024;

export interface ServiceStatus {
  service: string;
  state: "ready" | "not ready" | "unreachable";
  /** Checks that are not ok. */
  faults: Record<string, string>;
  version: string | undefined;
  memoryBytes: number | undefined;
}

export interface Probed {
  status: ServiceStatus;
  /** Undefined: /metrics did not answer. */
  samples: Samples | undefined;
}

export async function probe(service: string, url: string): Promise<Probed> {
  const [ready, metrics] = await Promise.all([readiness(url), get(url, "/metrics", maxMetricsBytes)]);
  const samples = metrics?.ok ? ownOnly(parseMetrics(metrics.body), service) : undefined;
  const build = samples?.get("sallyport_build_info")?.[0]?.labels;
  const memoryBytes = samples && single(samples, "process_resident_memory_bytes");
  return { samples, status: { service, ...ready, version: build?.version, memoryBytes } };
}

/** Governance passes on what the chamber tells; the chamber says it itself here. */
function ownOnly(samples: Samples, service: string): Samples {
  const own = ({ labels }: Sample) => labels.component === undefined || labels.component === service;
  return new Map([...samples].map(([name, all]) => [name, all.filter(own)]));
}

async function readiness(url: string): Promise<Pick<ServiceStatus, "state" | "faults">> {
  const answer = await get(url, "/readyz", maxReadyBytes);
  if (!answer) return { state: "unreachable", faults: {} };
  try {
    const { ready, checks = {} } = JSON.parse(answer.body) as { ready?: boolean; checks?: Record<string, string> };
    const faults = Object.fromEntries(Object.entries(checks).filter(([, value]) => value !== "ok"));
    return { state: answer.ok && ready === true ? "ready" : "not ready", faults };
  } catch {
    return { state: "not ready", faults: { readiness: "its answer is not JSON" } };
  }
}

async function get(url: string, path: string, maxBytes: number): Promise<{ ok: boolean; body: string } | undefined> {
  try {
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(probeTimeoutMs) });
    return { ok: response.ok, body: (await response.text()).slice(0, maxBytes) };
  } catch {
    return undefined;
  }
}
