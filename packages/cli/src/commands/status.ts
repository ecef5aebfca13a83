import type { Command } from "commander";
import type { Context } from "../context.ts";
import { table } from "../describe.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Act } from "../program.ts";
import { type Asked, askAll } from "../status/asked.ts";
import { describeStatus } from "../status/describe.ts";
import { factsOf } from "../status/facts.ts";
import { probe, type ServiceStatus } from "../status/services.ts";

export function addStatusCommand(program: Command, act: Act): void {
  const command = program
    .command("status")
    .description("health, queues, lags, log, versions, digests and switches (exit code 6 if a service is not ready)");
  act(command, showStatus);
}

async function showStatus(context: Context): Promise<void> {
  const { health } = context.endpoints();
  const probing = Promise.all(Object.entries(health).map(([service, url]) => probe(service, url)));
  const [probed, { unknown, ...asked }] = await Promise.all([probing, askAll(context)]);
  const services = probed.map(({ status }) => status);
  const ready = services.every(({ state }) => state === "ready");
  if (!ready) context.exitCode = exitCodes.unavailable;
  const facts = factsOf(probed);
  context.print({ ready, services, ...facts, ...asked, unknown }, () => [
    ...table([["SERVICE", "STATE", "VERSION", "MEMORY", "WHY"], ...services.map(rowOf)]),
    "",
    ...describeStatus(facts, { ...asked, unknown } satisfies Asked),
  ]);
}

function rowOf({ service, state, version, memoryBytes, faults }: ServiceStatus): string[] {
  const memory = memoryBytes === undefined ? "" : `${Math.round(memoryBytes / 1024 / 1024)} MiB`;
  const why = Object.entries(faults).map(([name, fault]) => `${name}: ${fault}`);
  return [service, state, version ?? "", memory, why.join("; ")];
}
