import { mkdirSync } from "node:fs";
import type { Home } from "../home.ts";
import type { ProcessSpec } from "../process/supervised.ts";
import { storeDir } from "./config.ts";

const STOP_TIMEOUT_MS = 10_000;
const READY_TIMEOUT_MS = 30_000;

/**
 * A stream whose disk was full once (2.15: "critical write error") refuses every further message until the server is
 * started again, also when there is room again.
 */
const WRITE_ERROR = /critical write error/i;

export interface NatsHooks {
  /** Makes streams, consumers and buckets. */
  readonly provision: () => Promise<void>;
  /** A stream takes nothing any more. */
  readonly cannotWrite: () => void;
}

/** The server as a child process; it is ready once its streams are there. */
export function natsProcess(binary: string, config: string, home: Home, hooks: NatsHooks): ProcessSpec {
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
    onReady: hooks.provision,
    onLine: (line) => {
      if (WRITE_ERROR.test(line)) hooks.cannotWrite();
    },
  };
}
