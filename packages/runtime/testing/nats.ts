import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection, nkeyAuthenticator, nkeys } from "@nats-io/transport-node";
import { buckets, type ServiceName, type StreamSpec, services, streams } from "@sallyport/proto/subjects";
import { findNatsServer } from "../../../infra/local/nats-server/find.ts";
import { type Bus, connectBus } from "../src/bus/index.ts";
import type { SubjectPermissions } from "../src/bus/permissions.ts";
import { bucketConfig, consumerConfig, streamConfig } from "../src/bus/specs.ts";
import type { Logger } from "../src/logger.ts";
import { createTestCa, type TestCa } from "./certificates.ts";
import { binCacheDir } from "./paths.ts";
import { freePort, ServerProcess } from "./server-process.ts";

type User = ServiceName | "operator" | "admin";

export interface TestNatsOptions {
  /** Users with no entry here may do anything in the account. */
  permissions?: Partial<Record<ServiceName | "operator", SubjectPermissions>>;
  ca?: TestCa;
}

/** A nats-server of one test file: TLS with client certificates, one nkey user a service, JetStream on a folder of its own. */
export interface TestNats extends AsyncDisposable {
  readonly url: string;
  readonly ca: TestCa;
  seed(user: User): string;
  bus(service: ServiceName, log: Logger): Promise<Bus>;
  /** Full rights; a new connection for each call, to be closed by the caller. */
  admin(): Promise<NatsConnection>;
  /** Makes streams, their consumers and all buckets, by default those of the platform. */
  provision(specs?: readonly StreamSpec[]): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Only while it is down: everything that JetStream stored is gone. */
  wipe(): void;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

export async function startTestNats(options: TestNatsOptions = {}): Promise<TestNats> {
  const ca = options.ca ?? (await createTestCa());
  const dir = mkdtempSync(join(tmpdir(), "sallyport-nats-"));
  const port = await freePort();
  const seeds = new Map([...services, "operator" as const, "admin" as const].map((user) => [user, newSeed()]));
  const files = await ca.issue("nats");
  writeFileSync(join(dir, "nats.conf"), serverConfig(dir, port, files, seeds, options.permissions ?? {}));
  const { path } = await findNatsServer({ cacheDir: binCacheDir(), log: () => undefined });
  const tls = await ca.tls("admin");
  const admin = () =>
    connect({
      servers: `tls://127.0.0.1:${port}`,
      authenticator: nkeyAuthenticator(new TextEncoder().encode(seeds.get("admin"))),
      tls: { cert: String(tls.cert), key: String(tls.key), ca: String(tls.ca) },
      timeout: 2_000,
      reconnect: false,
    });
  const server = new ServerProcess({
    command: path,
    args: ["-c", join(dir, "nats.conf")],
    ready: async () => {
      const nc = await admin();
      const jsm = await jetstreamManager(nc);
      await jsm.getAccountInfo();
      await nc.close();
      return true;
    },
  });
  await server.start();
  return {
    url: `tls://127.0.0.1:${port}`,
    ca,
    seed: (user) => seeds.get(user)!,
    bus: async (service, log) =>
      connectBus({
        url: `tls://127.0.0.1:${port}`,
        nkeySeed: seeds.get(service)!,
        tls: await ca.tls(service),
        service,
        log,
      }),
    admin,
    provision: async (specs = Object.values(streams)) => {
      const nc = await admin();
      await provision(await jetstreamManager(nc), specs);
      await nc.close();
    },
    kill: () => server.signal("SIGKILL"),
    start: () => server.start(),
    wipe: () => {
      if (server.running) throw new Error("wiping a running server is not what a wiped disk looks like");
      rmSync(join(dir, "jetstream"), { recursive: true, force: true });
    },
    pause: () => server.signal("SIGSTOP"),
    resume: () => server.signal("SIGCONT"),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await sleep(0);
      rmSync(dir, { recursive: true, force: true });
      if (!options.ca) ca[Symbol.dispose]();
    },
  };
}

async function provision(jsm: JetStreamManager, specs: readonly StreamSpec[]): Promise<void> {
  for (const spec of specs) {
    await jsm.streams.add(streamConfig(spec));
    for (const consumer of spec.consumers) await jsm.consumers.add(spec.name, consumerConfig(consumer));
  }
  for (const bucket of Object.values(buckets)) await jsm.streams.add(bucketConfig(bucket));
}

function newSeed(): string {
  return new TextDecoder().decode(nkeys.createUser().getSeed());
}

function serverConfig(
  dir: string,
  port: number,
  files: { certFile: string; keyFile: string; caFile: string },
  seeds: ReadonlyMap<User, string>,
  permissions: NonNullable<TestNatsOptions["permissions"]>,
): string {
  const users = [...seeds].map(([user, seed]) => {
    const nkey = nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
    const allowed = user === "admin" ? undefined : permissions[user];
    const rights = allowed && {
      publish: { allow: allowed.publish },
      subscribe: allowed.subscribe.length > 0 ? { allow: allowed.subscribe } : { deny: ">" },
    };
    return { nkey, ...(rights && { permissions: rights }) };
  });
  mkdirSync(dir, { recursive: true });
  return JSON.stringify({
    host: "127.0.0.1",
    port,
    server_name: "test",
    max_payload: 2 * 1024 ** 2,
    max_control_line: 4096,
    jetstream: { store_dir: dir, max_file_store: 4 * 1024 ** 3, max_memory_store: 512 * 1024 ** 2 },
    tls: { cert_file: files.certFile, key_file: files.keyFile, ca_file: files.caFile, verify: true },
    authorization: { users },
  });
}
