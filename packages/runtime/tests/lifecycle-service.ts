/** A service for the lifecycle tests; its first argument says how it behaves. */
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../src/index.ts";

const behaviour = process.argv[2];

await runService({
  name: "test-service",
  shutdownTimeoutMs: 500,
  main: async ({ signal, log, fail }) => {
    log.info("beginning");
    const alive = setInterval(() => {}, 1_000);
    if (behaviour === "cannot-start") throw new Error("no database");
    if (behaviour === "slow-start") await sleep(60_000, undefined, { signal });
    if (behaviour === "fails") setTimeout(() => fail(new Error("bus gone")), 50);
    if (behaviour === "rejects") setTimeout(() => void Promise.reject(new Error("nobody caught this")), 50);
    return {
      async [Symbol.asyncDispose]() {
        if (behaviour === "hangs") await new Promise(() => {});
        if (behaviour === "breaks") throw new Error("cannot close");
        clearInterval(alive);
        log.info("disposed");
      },
    };
  },
});
