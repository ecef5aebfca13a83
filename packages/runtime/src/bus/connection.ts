/** One NATS connection: nkey, TLS with our own certificate, a private inbox, and reconnection for ever. */
import type { Socket } from "node:net";
import { connect, type NatsConnection, type NodeConnectionOptions, nkeyAuthenticator } from "@nats-io/transport-node";
import type { Logger } from "../logger.ts";
import type { Reloaded } from "../reload.ts";
import type { TlsMaterial } from "../tls.ts";
import { countDisconnection, observeConnection } from "./metrics.ts";

export interface ConnectionOptions {
  /** `tls://host:port`, several with commas. */
  url: string;
  /** User seed (SU…). */
  nkeySeed: string | Reloaded<string>;
  tls: TlsMaterial;
  service: string;
  log: Logger;
}

const reconnectWaitMs = 250;
const connectTimeoutMs = 5_000;
const pingEveryMs = 5_000;
const maxPingsOut = 2;
const staleEndsWithinMs = 500;

/** `_INBOX_<service>`: its permission covers nobody else's replies. */
export function inboxPrefix(service: string): string {
  return `_INBOX_${service}`;
}

/** Resolves once connected for the first time, however long that takes; then follows the server through every restart. */
export class Connection {
  readonly nc: NatsConnection;
  readonly #log: Logger;
  readonly #onReconnect = new Set<() => void>();
  readonly #onDisconnect = new Set<() => void>();
  readonly #rotating: ((() => void) | undefined)[] = [];
  readonly #metrics: Disposable;
  #connected = true;

  private constructor(nc: NatsConnection, log: Logger) {
    this.nc = nc;
    this.#log = log;
    this.#metrics = observeConnection(() => this.connected);
    void this.#follow();
  }

  static async open({ url, nkeySeed, tls, service, log }: ConnectionOptions): Promise<Connection> {
    const nc = await connect({
      servers: url.split(",").map((server) => server.trim()),
      name: service,
      // Both are asked for again at each reconnection.
      authenticator: nkeyAuthenticator(() =>
        new TextEncoder().encode((typeof nkeySeed === "string" ? nkeySeed : nkeySeed.current).trim()),
      ),
      tls: textOf(tls),
      inboxPrefix: inboxPrefix(service),
      reconnect: true,
      maxReconnectAttempts: -1,
      ...paced(),
      // A server that restarts with other permissions, or before its users are written, must not end us.
      ignoreAuthErrorAbort: true,
      waitOnFirstConnect: true,
      // A stack trace for every publish costs more than the publish.
      noAsyncTraces: true,
      timeout: connectTimeoutMs,
      pingInterval: pingEveryMs,
      maxPingOut: maxPingsOut,
    });
    const connection = new Connection(nc, log);
    const rotated = () => connection.#rotate();
    connection.#rotating.push(
      tls.onChange?.(rotated),
      typeof nkeySeed === "string" ? undefined : nkeySeed.onChange(rotated),
    );
    return connection;
  }

  get connected(): boolean {
    return this.#connected && !this.nc.isClosed();
  }

  onReconnect(listener: () => void): () => void {
    this.#onReconnect.add(listener);
    return () => this.#onReconnect.delete(listener);
  }

  onDisconnect(listener: () => void): () => void {
    this.#onDisconnect.add(listener);
    return () => this.#onDisconnect.delete(listener);
  }

  async close(): Promise<void> {
    for (const stop of this.#rotating) stop?.();
    this.#connected = false;
    this.#metrics[Symbol.dispose]();
    if (this.nc.isClosed()) return;
    // Draining sends the acks that are still in the buffer, but waits for a server that may be away.
    const drained = await Promise.race([this.nc.drain().then(yes, no), timeout(drainTimeoutMs)]);
    if (!drained && !this.nc.isClosed()) await this.nc.close().catch(no);
  }

  /** What we are known by was replaced: in again with the new one, before the server stops believing the former. */
  #rotate(): void {
    this.#log.info("credentials for the bus were replaced; reconnecting with the new ones");
    this.nc.reconnect().catch((err: unknown) => this.#log.warn({ err }, "could not reconnect"));
  }

  /**
   * The library ends a connection whose pings are not answered, but first waits until what it has written is taken: by a
   * server that takes nothing, or over a network that loses everything, for as long as TCP believes in it.
   */
  #breakOff(): void {
    this.#log.warn("the bus answers nothing and takes nothing; breaking the connection off");
    const { protocol } = this.nc as unknown as { protocol: { transport: { socket?: Socket } } };
    protocol.transport.socket?.destroy();
  }

  async #follow(): Promise<void> {
    let stale: NodeJS.Timeout | undefined;
    for await (const status of this.nc.status()) {
      if (status.type === "staleConnection") {
        stale ??= setTimeout(() => this.#breakOff(), staleEndsWithinMs).unref();
      } else if (status.type === "disconnect") {
        clearTimeout(stale);
        stale = undefined;
        this.#connected = false;
        countDisconnection();
        this.#log.warn("the bus is away; reconnecting");
        for (const listener of this.#onDisconnect) listener();
      } else if (status.type === "reconnect") {
        this.#connected = true;
        this.#log.info("the bus is back");
        for (const listener of this.#onReconnect) listener();
      } else if (status.type === "error") {
        this.#log.warn({ err: status.error }, "the bus refused something");
      }
    }
  }
}

/**
 * A pause between two tries, by the monotonic clock. The library's own is by the wall clock: set back by an hour while the
 * bus was away, it would try again in an hour.
 */
function paced(): Pick<NodeConnectionOptions, "reconnectDelayHandler" | "reconnectToServer"> {
  let lastAt = Number.NEGATIVE_INFINITY;
  return {
    reconnectDelayHandler: () => Number.NEGATIVE_INFINITY,
    reconnectToServer: ([next]) => {
      const now = performance.now();
      const delay = Math.max(0, lastAt + reconnectWaitMs * (1 + Math.random() / 2) - now);
      lastAt = now + delay;
      return { server: next!, delay };
    },
  };
}

function textOf(tls: TlsMaterial) {
  return {
    get cert() {
      return String(tls.cert);
    },
    get key() {
      return String(tls.key);
    },
    get ca() {
      return String(tls.ca);
    },
  };
}

const drainTimeoutMs = 2_000;
const yes = () => true;
const no = () => false;

async function timeout(ms: number): Promise<false> {
  return await new Promise((resolve) => setTimeout(() => resolve(false), ms).unref());
}
