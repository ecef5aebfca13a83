import { readFileSync } from "node:fs";
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { buckets, type StreamSpec, streams } from "@sallyport/proto/subjects";
import { bucketConfig, consumerConfig, streamConfig } from "@sallyport/runtime/provisioning";
import type { Home } from "../home.ts";
import { certificateFiles } from "../pki.ts";
import { seedFile } from "./config.ts";
import { PROVISIONER } from "./permissions.ts";

const CHECK_EVERY_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
const API_TIMEOUT_MS = 5_000;
/** JetStream error codes: the stream, or the consumer, is there with another configuration. */
const OTHER_CONFIGURATION = new Set([10058, 10148]);

/** Options of a connection as `user`, by seed and client certificate. */
export function connectionOptions(home: Home, port: number, user: Parameters<typeof seedFile>[1], host = "127.0.0.1") {
  const { cert, key, ca } = certificateFiles(home, user);
  return {
    servers: `tls://${host}:${port}`,
    name: user,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(seedFile(home, user), "utf8").trim())),
    tls: { certFile: cert, keyFile: key, caFile: ca },
    inboxPrefix: `_INBOX_${user}`,
    timeout: CONNECT_TIMEOUT_MS,
  };
}

/** Sees to it that every stream, consumer and bucket is there, also after the server's data was wiped while running. */
export class Provisioner {
  readonly #options: ReturnType<typeof connectionOptions>;
  readonly #report: (line: string) => void;
  #nc: NatsConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(home: Home, port: number, report: (line: string) => void, host?: string) {
    this.#options = connectionOptions(home, port, PROVISIONER, host);
    this.#report = report;
  }

  /** One round; throws when the server is away or refuses. Later rounds follow by themselves. */
  async provision(): Promise<void> {
    clearTimeout(this.#timer);
    const nc = await this.#connection();
    await provisionAll(await jetstreamManager(nc, { checkAPI: false, timeout: API_TIMEOUT_MS }));
    this.#checkLater();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#nc?.close();
  }

  async #connection(): Promise<NatsConnection> {
    if (this.#nc && !this.#nc.isClosed()) return this.#nc;
    this.#nc = await connect({ ...this.#options, reconnect: false });
    return this.#nc;
  }

  #checkLater(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#check(), CHECK_EVERY_MS).unref();
  }

  async #check(): Promise<void> {
    try {
      const jsm = await jetstreamManager(await this.#connection(), { checkAPI: false, timeout: API_TIMEOUT_MS });
      const there = new Set(await jsm.streams.names().next());
      const missing = wantedStreams().filter((name) => !there.has(name));
      if (missing.length > 0) {
        this.#report(`bus: made again what was gone: ${missing.join(", ")}`);
        await provisionAll(jsm);
      }
    } catch {
      // The server is away: its supervisor brings it back and calls provision().
      await this.#nc?.close();
    }
    this.#checkLater();
  }
}

function wantedStreams(): string[] {
  return [...Object.keys(streams), ...Object.values(buckets).map((bucket) => bucketConfig(bucket).name)];
}

async function provisionAll(jsm: JetStreamManager): Promise<void> {
  const specs = Object.values<StreamSpec>(streams);
  const configs = [
    ...specs.map((spec) => streamConfig(spec)),
    ...Object.values(buckets).map((bucket) => bucketConfig(bucket)),
  ];
  await Promise.all(
    configs.map((config) =>
      createOr(
        () => jsm.streams.add(config),
        () => jsm.streams.update(config.name, config),
      ),
    ),
  );
  await Promise.all(specs.map((spec) => forgetConsumersAhead(jsm, spec.name)));
  const consumers = specs.flatMap((spec) =>
    spec.consumers.map((consumer) => ({ stream: spec.name, config: consumerConfig(consumer) })),
  );
  await Promise.all(
    consumers.map(({ stream, config }) =>
      createOr(
        () => jsm.consumers.add(stream, config),
        () => jsm.consumers.update(stream, config.durable_name!, config),
      ),
    ),
  );
}

/**
 * A stream that lost its tail to a power cut counts on from what is left, but its consumers remember how far they were:
 * what comes next would be behind them, and never be delivered. Begun anew they get all that the stream has, which every
 * handler takes as a repeat. One that a service made for itself is made again by it.
 */
async function forgetConsumersAhead(jsm: JetStreamManager, stream: string): Promise<void> {
  const { last_seq: last } = (await jsm.streams.info(stream)).state;
  for await (const { name, delivered } of jsm.consumers.list(stream)) {
    if (delivered.stream_seq > last) await jsm.consumers.delete(stream, name);
  }
}

async function createOr(create: () => Promise<unknown>, update: () => Promise<unknown>): Promise<void> {
  try {
    await create();
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || !OTHER_CONFIGURATION.has(error.code)) throw error;
    await update();
  }
}
