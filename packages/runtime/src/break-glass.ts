/**
 * The operator's own way to the bus when governance is down: one connection, one try, the one key that its user may put
 * and read. What is in that key is signed by the operator's break-glass key (attestation, stage `switch`).
 */

import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { BREAK_GLASS } from "@sallyport/attestation";
import { inboxPrefix } from "./bus/connection.ts";
import { Publisher } from "./bus/publisher.ts";
import { putValue, readEntry, type StoredValue } from "./bus/values.ts";
import { AppError } from "./errors.ts";

export type { StoredValue } from "./bus/values.ts";
export type { Switch, SwitchKind, SwitchTarget } from "./switch-index.ts";
export { readSwitches, type SwitchSet } from "./switches.ts";

const user = "operator";

export interface OperatorBusOptions {
  /** `tls://host:port`, several with commas. */
  url: string;
  /** User seed (SU…). */
  nkeySeed: string;
  /** PEM. */
  tls: { cert: string; key: string; ca: string };
  timeoutMs: number;
}

export interface OperatorBus extends AsyncDisposable {
  /** Undefined when it was never put. Throws UNAVAILABLE. */
  read(): Promise<StoredValue | undefined>;
  /** Replaces just what was read. Throws FAILED_PRECONDITION when somebody else was faster, or UNAVAILABLE. */
  put(value: Uint8Array, after: StoredValue | undefined): Promise<void>;
}

/** Throws UNAVAILABLE when no server takes the connection within `timeoutMs`. */
export async function connectOperatorBus({ url, nkeySeed, tls, timeoutMs }: OperatorBusOptions): Promise<OperatorBus> {
  const nc = await connect({
    servers: url.split(",").map((server) => server.trim()),
    name: user,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(nkeySeed.trim())),
    tls,
    inboxPrefix: inboxPrefix(user),
    reconnect: false,
    timeout: timeoutMs,
  }).catch((cause: unknown) => {
    throw new AppError("UNAVAILABLE", "the bus does not take the operator's connection", {
      reason: "BUS_UNAVAILABLE",
      cause,
    });
  });
  const publisher = new Publisher({ nc, connected: true });
  const { bucket, key } = BREAK_GLASS;
  return {
    read: () => readEntry({ nc }, bucket, key),
    put: (value, after) =>
      putValue(publisher, bucket, key, value, { source: user, time: new Date(), lastSequence: after?.sequence ?? 0 }),
    [Symbol.asyncDispose]: () => nc.close(),
  };
}
