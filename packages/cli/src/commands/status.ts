import type { Command } from "commander";
import type { Context } from "../context.ts";
import { table } from "../describe.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Act } from "../program.ts";

const probeTimeoutMs = 2_000;
const maxBodyBytes = 64 * 1024;

interface ServiceStatus {
  service: string;
  state: "ready" | "not ready" | "unreachable";
  /** Checks that are not ok. */
  faults: Record<string, string>;
}

export function addStatusCommand(program: Command, act: Act): void {
  act(program.command("status").description("whether every service is ready (exit code 6 if not)"), showStatus);
}

async function showStatus(context: Context): Promise<void> {
  const { health } = context.endpoints();
  const statuses = await Promise.all(Object.entries(health).map(([service, url]) => probe(service, url)));
  if (statuses.some(({ state }) => state !== "ready")) context.exitCode = exitCodes.unavailable;
  context.print({ ready: context.exitCode === exitCodes.done, services: statuses }, () =>
    table([["SERVICE", "STATE", "WHY"], ...statuses.map(rowOf)]),
  );
}

function rowOf({ service, state, faults }: ServiceStatus): string[] {
  return [
    service,
    state,
    Object.entries(faults)
      .map(([name, fault]) => `${name}: ${fault}`)
      .join("; "),
  ];
}

async function probe(service: string, url: string): Promise<ServiceStatus> {
  try {
    const response = await fetch(new URL("/readyz", url), { signal: AbortSignal.timeout(probeTimeoutMs) });
    const body = (await response.text()).slice(0, maxBodyBytes);
    const { ready, checks = {} } = JSON.parse(body) as { ready?: boolean; checks?: Record<string, string> };
    const state = response.ok && ready === true ? "ready" : "not ready";
    return { service, state, faults: Object.fromEntries(Object.entries(checks).filter(([, value]) => value !== "ok")) };
  } catch {
    return { service, state: "unreachable", faults: {} };
  }
}
