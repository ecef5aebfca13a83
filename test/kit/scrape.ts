/** Every service's metrics, as Prometheus would get them. */
import type { Platform } from "@sallyport/infra/platform";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";

export async function scrape(platform: Platform, service: ServiceName): Promise<string> {
  const url = `http://127.0.0.1:${platform.ports.health[service]}/metrics`;
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return await response.text();
}

/** Governance drops what the chamber says of a model until it has heard that it is approved; after this it has. */
export async function waitForChamber(platform: Platform): Promise<void> {
  const line = 'sallyport_worker_engine_ready{component="inference-worker",model=';
  await waitFor(
    "the chamber's model at governance",
    async () => (await scrape(platform, "governance")).includes(line),
    { timeoutMs: 30_000, everyMs: 500 },
  );
}

export async function scrapeAll(platform: Platform): Promise<Record<ServiceName, string>> {
  const texts = await Promise.all(services.map(async (service) => [service, await scrape(platform, service)] as const));
  return Object.fromEntries(texts) as Record<ServiceName, string>;
}
