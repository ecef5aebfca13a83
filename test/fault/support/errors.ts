/** Parts that run and answer, but wrongly: an engine crashes or stands still, tables fail, the bus refuses, no policy is to be had. */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Platform } from "@sallyport/infra/platform";
import { streams } from "@sallyport/proto/subjects";
import { streamConfig } from "@sallyport/runtime/provisioning";
import { waitFor } from "@sallyport/runtime/testing";
import pg from "pg";
import { PROVISIONER } from "../../../infra/local/nats/permissions.ts";
import { connectionOptions } from "../../../infra/local/nats/provisioner.ts";
import { SUPERUSER } from "../../../infra/local/postgres/cluster.ts";
import { sessionOptions } from "../../../infra/local/postgres/grants.ts";
import { connectAs, freeze, Intruder, isAlive, isFrozen, processTree } from "../../kit/index.ts";
import type { Fault } from "./faults.ts";

export const errors = [
  "engine crashes",
  "engine stands still",
  "ledger fails",
  "log fails",
  "governance fails",
  "bus refuses",
  "policy is gone",
] as const;
export type ErrorName = (typeof errors)[number];

/** Makes everything ready, so that the fault itself begins at once when the result is called. */
export function prepare(platform: Platform, name: ErrorName): Promise<() => Fault> {
  switch (name) {
    case "engine crashes":
      return crashEngine(platform);
    case "engine stands still":
      return freezeEngine(platform);
    case "ledger fails":
      return failTables(platform, "gateway", ["requests"]);
    case "log fails":
      return failTables(platform, "audit", ["records"]);
    case "governance fails":
      return failTables(platform, "governance", ["items", "signed_state"]);
    case "bus refuses":
      return refuseMessages(platform);
    case "policy is gone":
      return losePolicy(platform);
  }
}

function engineOf(platform: Platform): number[] {
  const { pid } = platform.service("inference-worker");
  const engine = pid === undefined ? [] : processTree(pid).slice(1);
  if (engine.length === 0) throw new Error("there is no engine now");
  return engine;
}

async function crashEngine(platform: Platform): Promise<() => Fault> {
  const engine = engineOf(platform);
  return () => {
    for (const pid of engine) process.kill(pid, "SIGKILL");
    return {
      fired: () => waitFor("the engine to be gone", () => !engine.some(isAlive)).then(() => {}),
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

async function failTables({ home, ports }: Platform, schema: string, tables: string[]): Promise<() => Fault> {
  const owner = new pg.Client(sessionOptions(home, ports.postgres, SUPERUSER));
  await owner.connect();
  const rename = (from: string, to: string) =>
    owner.query(tables.map((table) => `ALTER TABLE ${schema}.${table}${from} RENAME TO ${table}${to}`).join("; "));
  return () => {
    const gone = rename("", "_away");
    return {
      fired: () => gone.then(() => {}),
      undo: async () => {
        await rename("_away", "");
        await owner.end();
      },
    };
  };
}

/** The bus answers every publish on the way of a request, and to the log, with a refusal. */
async function refuseMessages({ home, ports }: Platform): Promise<() => Fault> {
  const nc = await connect({ ...connectionOptions(home, ports.nats, PROVISIONER), reconnect: false });
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const specs = [streams.JOBS, streams.WINDOWS, streams.VERDICTS, streams.AUDIT].map((spec) => streamConfig(spec));
  const change = (smallest: object) =>
    Promise.all(specs.map((config) => jsm.streams.update(config.name, { ...config, ...smallest })));
  return () => {
    const refusing = change({ max_msg_size: 1 });
    return {
      fired: async () => {
        for (const { config } of await refusing)
          if (config.max_msg_size !== 1) throw new Error(`${config.name} still takes messages`);
      },
      undo: async () => {
        await change({});
        await nc.close();
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
