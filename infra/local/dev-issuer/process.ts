import { fileURLToPath } from "node:url";
import type { ProcessSpec } from "../process/supervised.ts";
import type { IssuerFiles } from "./clients.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const STOP_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 30_000;
const PROBE_TIMEOUT_MS = 1_000;

export function issuerProcess(port: number, files: IssuerFiles, compileCacheDir: string): ProcessSpec {
  return {
    name: "issuer",
    command: process.execPath,
    args: ["--disable-warning=ExperimentalWarning", MAIN],
    env: {
      PATH: process.env.PATH,
      NODE_ENV: "production",
      NODE_COMPILE_CACHE: compileCacheDir,
      ISSUER_PORT: String(port),
      ISSUER_CLIENTS_FILE: files.clients,
      ISSUER_KEYS_FILE: files.keys,
    },
    ipc: true,
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    readyTimeoutMs: READY_TIMEOUT_MS,
    ready: () => answersOk(`http://127.0.0.1:${port}/readyz`),
  };
}

/** Whether a GET is answered with 200. */
export async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  await response.arrayBuffer();
  return response.status === 200;
}
