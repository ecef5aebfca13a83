/** A program of others that a test talks to, such as a real Prometheus: started, waited for, and stopped. */
import { spawn } from "node:child_process";
import { waitFor } from "@sallyport/runtime/testing";

export interface RunningProgram extends AsyncDisposable {
  /** What it wrote to stderr so far. */
  said(): string;
}

/** Resolves once `ready` does not throw and is true. Throws with its last words when it ends before that. */
export async function startProgram(
  path: string,
  args: readonly string[],
  ready: () => Promise<boolean>,
): Promise<RunningProgram> {
  const child = spawn(path, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const running: RunningProgram = {
    said: () => said,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
  try {
    const isThere = async () => child.exitCode !== null || (await ready());
    await waitFor(`${path} to be ready`, isThere, { timeoutMs: 30_000, everyMs: 200 });
    if (child.exitCode !== null) throw new Error(`${path} ended: ${said}`);
    return running;
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
}
