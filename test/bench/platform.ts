/** The platform under measurement: as `npm start` has it, plus a model server behind engine `remote`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Platform, type PlatformOptions, startPlatform } from "@sallyport/infra/platform";
import { services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { grpcClients } from "../kit/clients.ts";
import { cpuMsOf, type Memory, memoryOf } from "./proc.ts";

export const benchModel = "bench";
const benchDigest = "be".repeat(32);

export interface Started {
  readonly platform: Platform;
  readonly tookMs: number;
}

export interface Where extends Pick<PlatformOptions, "extraEnv"> {
  readonly home: string;
  readonly portBase: number;
  /** Base URL, behind engine `remote`. */
  readonly modelServer: string;
}

export async function start({ modelServer, ...where }: Where, signal: AbortSignal): Promise<Started> {
  const startedAt = performance.now();
  const platform = await startPlatform({ ...where, remoteEndpoints: { bench: modelServer }, signal });
  return { platform, tookMs: performance.now() - startedAt };
}

/** Imported by one person, approved by another; waits until the worker serves it. Harmless when it was done before. */
export async function approveBenchModel(platform: Platform): Promise<void> {
  using clients = grpcClients(platform);
  const as = (person: string) => ({ bearer: platform.token(person), deadlineMs: 15_000 });
  const { models } = await clients.models.listModels({}, as("operator"));
  if (!models.some(({ digest }) => digest === benchDigest)) {
    const about = { name: benchModel, version: "1", engine: "remote", digest: benchDigest, licence: "Apache-2.0" };
    const where = { tier: "standard", contextTokens: 4_096, remoteEndpoint: "bench", remoteModel: "bench" };
    const value = { ...about, ...where, card: "Answers the same to everybody; for measuring." };
    const { model } = await clients.models.importModel([{ part: { case: "metadata", value } }], as("operator"));
    const justification = "For measuring on this machine.";
    await clients.models.approveModel({ digest: model!.digest, justification }, as("approver"));
  }
  await waitFor("the worker serves the model", () => worker(platform), { timeoutMs: 30_000 });
}

async function worker({ endpoints }: Platform): Promise<boolean> {
  const response = await fetch(`${endpoints.health["inference-worker"]}/readyz`);
  const { checks } = (await response.json()) as { checks: Record<string, string> };
  return checks[`model ${benchModel}`] === "ok";
}

/** Every process that a running platform needs, by name. */
function processesOf(platform: Platform): [string, number][] {
  const own = services.map((name) => [name, platform.service(name).pid] as const);
  const rest = [platform.nats, platform.postgres, platform.issuer].map(({ name, pid }) => [name, pid] as const);
  return [...own, ...rest].map(([name, pid]) => {
    if (pid === undefined) throw new Error(`${name} is down`);
    return [name, pid];
  });
}

export type PerProcess<Value> = Record<string, Value>;

export function memoryOfPlatform(platform: Platform): PerProcess<Memory> {
  return Object.fromEntries(processesOf(platform).map(([name, pid]) => [name, memoryOf(pid)]));
}

export function cpuOfPlatform(platform: Platform): PerProcess<number> {
  return Object.fromEntries(processesOf(platform).map(([name, pid]) => [name, cpuMsOf(pid)]));
}

export function warningsIn({ home }: Platform): string[] {
  return services.flatMap((service) => {
    const lines = readFileSync(join(home.logsDir, `${service}.jsonl`), "utf8").split("\n");
    return lines.filter((line) => /"level":"?(50|60|error|fatal)"?/.test(line)).map((line) => `${service}: ${line}`);
  });
}
