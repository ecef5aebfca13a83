import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The version that is fetched or built where none is at hand. */
export const NATS_VERSION = "2.15.1";
/** Atomic batch publish, message TTL and consumer pinning, as used here, came with it. */
export const NATS_MIN_VERSION = "2.12.0";

const run = promisify(execFile);

export interface CaptureOptions {
  readonly timeoutMs: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** Runs a program to its end and resolves with what it printed; throws an Error with its last words. */
export async function capture(
  command: string,
  args: string[],
  { timeoutMs, env, cwd }: CaptureOptions,
): Promise<string> {
  try {
    const { stdout, stderr } = await run(command, args, { timeout: timeoutMs, env, cwd, maxBuffer: 16 * 1024 * 1024 });
    return `${stdout}${stderr}`;
  } catch (error) {
    const { code, killed, stderr = "" } = error as { code?: string | number; killed?: boolean; stderr?: string };
    if (code === "ENOENT") throw new Error(`${command} is not there`);
    if (killed) throw new Error(`${command} took longer than ${timeoutMs / 1000} s`);
    throw new Error(`${command} failed: ${stderr.trim().split("\n").at(-1) || `exit ${code}`}`);
  }
}

export function natsVersion(output: string): string {
  const version = /v?(\d+\.\d+\.\d+)/.exec(output)?.[1];
  if (!version) throw new Error("it does not tell a version");
  return version;
}

export function newerOrEqual(version: string, minimum: string): boolean {
  const [a, b] = [version, minimum].map((text) => text.split(".").map(Number));
  for (let i = 0; i < 3; i++) if (a![i] !== b![i]) return a![i]! > b![i]!;
  return true;
}

export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : "";
  return `${error.message}${cause}`;
}
