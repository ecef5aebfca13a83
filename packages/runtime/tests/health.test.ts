import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Readiness, startHealth } from "../src/index.ts";

test("livez, readyz and metrics answer; readiness that fails, throws or is late is 503 while liveness holds", async () => {
  let ready: () => Readiness | Promise<Readiness> = () => ({ ready: true, checks: { bus: "ok" } });
  await using health = await startHealth(
    { host: "127.0.0.1", port: 0 },
    { ready: () => ready(), metrics: () => "sallyport_things_total 3\n" },
  );
  const get = async (path: string, method = "GET") => {
    const response = await fetch(`http://127.0.0.1:${health.address.port}${path}`, { method });
    return [response.status, await response.text()] as const;
  };
  expect(await get("/readyz?x")).toEqual([200, '{"ready":true,"checks":{"bus":"ok"}}\n']);
  const faults: (typeof ready)[] = [
    () => ({ ready: false, checks: { bus: "not connected" } }),
    () => Promise.reject(new Error("secret detail")),
    async () => {
      await sleep(3_000);
      return { ready: true, checks: {} };
    },
  ];
  for (const fault of faults) {
    ready = fault;
    const [status, body] = await get("/readyz");
    expect(status).toBe(503);
    expect(body).not.toContain("secret");
    expect((await get("/livez"))[0]).toBe(200);
  }
  const [, metrics] = await get("/metrics");
  expect(metrics).toMatch(/process_resident_memory_bytes \d+\n/);
  expect(metrics).toContain("sallyport_things_total 3\n");
  expect((await get("/"))[0]).toBe(404);
  expect((await get("/livez", "POST"))[0]).toBe(405);
});

test("an address in use rejects", async () => {
  const options = { ready: () => ({ ready: true, checks: {} }) };
  await using health = await startHealth({ host: "127.0.0.1", port: 0 }, options);
  await expect(startHealth(health.address, options)).rejects.toThrow("EADDRINUSE");
});
