import { mkdirSync } from "node:fs";
import type { Home } from "../home.ts";
import type { ProcessSpec } from "../process/supervised.ts";
import { storeDir } from "./config.ts";

const STOP_TIMEOUT_MS = 10_000;
const READY_TIMEOUT_MS = 30_000;

/** The server as a child process; it is ready once its streams are there. */
export function natsProcess(binary: string, config: string, home: Home, provision: () => Promise<void>): ProcessSpec {
  return {
    name: "nats",
    command: binary,
    args: ["--config", config],
    env: { PATH: process.env.PATH },
    ipc: false,
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    readyTimeoutMs: READY_TIMEOUT_MS,
    beforeStart: () => mkdirSync(storeDir(home), { recursive: true, mode: 0o700 }),
    ready: async () => true,
    onReady: provision,
  };
}
