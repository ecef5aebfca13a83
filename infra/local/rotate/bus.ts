/** Rotation of the bus users' keys (nkeys): the server takes both while one service after the other moves over. */
import { existsSync, readFileSync, renameSync } from "node:fs";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { services } from "@sallyport/proto/subjects";
import type { Home } from "../home.ts";
import { newSeed, nextSeedFile, seedFile, writeConfig } from "../nats/config.ts";
import { OPERATOR } from "../nats/permissions.ts";
import { connectionOptions } from "../nats/provisioner.ts";
import { GATEWAY_ID } from "../services.ts";
import type { Running } from "./running.ts";

const ACCEPTED_WITHIN_MS = 10_000;
const POLL_MS = 200;

type Report = (line: string) => void;

/** The provisioner's key stays while its runner is connected with it. */
export async function rotateBusKeys(home: Home, running: Running | undefined, report: Report): Promise<void> {
  const users = [...services, OPERATOR] as const;
  for (const user of users) if (!existsSync(nextSeedFile(home, user))) newSeed(nextSeedFile(home, user));
  const port = running && Number(new URL(running.endpoints.nats).port);
  const reload = () => {
    if (port === undefined) return;
    writeConfig(home, port, GATEWAY_ID);
    running?.reload("nats");
  };
  reload();
  if (port !== undefined) await untilAccepted(home, port);
  report("the bus takes the new keys beside those in use");
  for (const user of users) {
    renameSync(nextSeedFile(home, user), seedFile(home, user));
    if (!running || user === OPERATOR) continue;
    await running.untilLoaded("bus", { [user]: [seedFile(home, user)] });
    await running.untilReady(user);
  }
  report("every service is on the bus with its new key");
  reload();
  for (const service of running?.services ?? []) await running?.untilReady(service);
  report("the former keys are refused");
}

/** The server has read its users again once it lets one in with a new key. */
async function untilAccepted(home: Home, port: number): Promise<void> {
  const seed = new TextEncoder().encode(readFileSync(nextSeedFile(home, OPERATOR), "utf8").trim());
  const options = { ...connectionOptions(home, port, OPERATOR), authenticator: nkeyAuthenticator(seed) };
  const deadline = Date.now() + ACCEPTED_WITHIN_MS;
  for (;;) {
    try {
      await (await connect({ ...options, reconnect: false })).close();
      return;
    } catch (cause) {
      if (Date.now() > deadline) throw new Error("the bus did not take the new keys: see its log", { cause });
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
