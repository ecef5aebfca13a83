/** Parts that run and answer, but wrongly: the engine crashes or stands still, the ledger's tables fail, no policy is to be had. */
import type { Platform } from "@sallyport/infra/platform";
import { waitFor } from "@sallyport/runtime/testing";
import pg from "pg";
import { SUPERUSER } from "../../../infra/local/postgres/cluster.ts";
import { sessionOptions } from "../../../infra/local/postgres/grants.ts";
import { connectAs, freeze, Intruder, isAlive, isFrozen, processTree } from "../../kit/index.ts";
import type { Fault } from "./faults.ts";

export const errors = ["engine crashes", "engine stands still", "ledger fails", "policy is gone"] as const;
export type ErrorName = (typeof errors)[number];

/** Makes everything ready, so that the fault itself begins at once when the result is called. */
export function prepare(platform: Platform, name: ErrorName): Promise<() => Fault> {
  if (name === "engine crashes") return crashEngine(platform);
  if (name === "engine stands still") return freezeEngine(platform);
  return name === "ledger fails" ? failLedger(platform) : losePolicy(platform);
}

const engineOf = (platform: Platform) => processTree(platform.service("inference-worker").pid!).slice(1);

async function crashEngine(platform: Platform): Promise<() => Fault> {
  const engine = engineOf(platform);
  return () => {
    for (const pid of engine) process.kill(pid, "SIGKILL");
    return {
      fired: () => waitFor("the engine to be gone", () => engine.length > 0 && !engine.some(isAlive)).then(() => {}),
      undo: async () => {},
    };
  };
}

async function freezeEngine(platform: Platform): Promise<() => Fault> {
  const engine = engineOf(platform);
  return () => {
    const thaws = engine.map(freeze);
    return {
      // The worker may have ended it already.
      fired: () =>
        waitFor("the engine to stand still", () => engine.every((pid) => !isAlive(pid) || isFrozen(pid))).then(
          () => {},
        ),
      undo: async () => {
        for (const thaw of thaws) thaw();
      },
    };
  };
}

async function failLedger({ home, ports }: Platform): Promise<() => Fault> {
  const owner = new pg.Client(sessionOptions(home, ports.postgres, SUPERUSER));
  await owner.connect();
  return () => {
    const gone = owner.query("ALTER TABLE gateway.requests RENAME TO requests_away");
    return {
      fired: () => gone.then(() => {}),
      undo: async () => {
        await owner.query("ALTER TABLE gateway.requests_away RENAME TO requests");
        await owner.end();
      },
    };
  };
}

/** With governance standing still, nobody puts the right one back. */
async function losePolicy(platform: Platform): Promise<() => Fault> {
  const intruder = await Intruder.as("governance", platform);
  const thaw = freeze(platform.service("governance").pid!);
  return () => {
    const put = intruder.putBytes("$KV.policy.active", "no policy");
    return {
      fired: async () => {
        await put;
        await using reader = await connectAs(platform, "governance");
        const stored = await reader.ask("$JS.API.DIRECT.GET.KV_policy.$KV.policy.active");
        if (Buffer.from(stored as Uint8Array).toString() !== "no policy") throw new Error("the policy is still there");
      },
      undo: async () => {
        thaw();
        await intruder[Symbol.asyncDispose]();
      },
    };
  };
}
