import { readFileSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { services as allServices, type ServiceName } from "@sallyport/proto/subjects";
import { ensureClientCertificates } from "./client-certificates.ts";
import { ensureIssuerFiles } from "./dev-issuer/clients.ts";
import { issuerProcess } from "./dev-issuer/process.ts";
import { keepTokens, tokenFile } from "./dev-issuer/tokens.ts";
import { type Endpoints, endpointsOf, writeEndpoints } from "./endpoints.ts";
import type { Home } from "./home.ts";
import { hasStreams, seedFile, storeDir, writeConfig } from "./nats/config.ts";
import { natsProcess } from "./nats/process.ts";
import { Provisioner } from "./nats/provisioner.ts";
import { findNatsServer } from "./nats-server/find.ts";
import { ensurePilotModel } from "./pilot-model.ts";
import { ensureCertificates } from "./pki.ts";
import type { Platform, ProcessHandle } from "./platform.ts";
import type { Ports } from "./ports.ts";
import { clusterProcess, prepareCluster } from "./postgres/cluster.ts";
import { grantSchemas } from "./postgres/grants.ts";
import type { Supervised } from "./process/supervised.ts";
import type { Supervisor } from "./process/supervisor.ts";
import { waitReady } from "./readiness.ts";
import { GATEWAY_ID, issuerUrl, type ServiceSettings, serviceProcess } from "./services.ts";
import { step } from "./steps.ts";
import { ensureTrust } from "./trust.ts";

const STORE_CHECK_MS = 1_000;
/** Far more than a server needs to make its streams. */
const PROVISION_MS = 15_000;
/** With less room than this, a server that is started again would fail again. */
const ENOUGH_BYTES = 16 * 1_024 * 1_024;
const READY_TIMEOUT_MS = 60_000;

/** Everything of one platform, while it comes up, runs and goes down. */
export class Parts {
  readonly #home: Home;
  readonly #ports: Ports;
  readonly #supervisor: Supervisor;
  readonly #log: (line: string) => void;
  readonly #endpoints: Endpoints;
  readonly #services: ReadonlyMap<ServiceName, Supervised>;
  readonly #provisioner: Provisioner;
  readonly #closing: (() => void)[] = [];
  #nats: Supervised | undefined;
  /** Process ids of servers that take nothing any more. */
  readonly #writeFailed = new Set<number | undefined>();
  /** Process id of the server when its streams were made. */
  #provisioned: number | undefined;
  #postgres: Supervised | undefined;
  #issuer: Supervised | undefined;

  constructor(
    home: Home,
    ports: Ports,
    supervisor: Supervisor,
    settings: ServiceSettings,
    log: (line: string) => void,
  ) {
    this.#home = home;
    this.#ports = ports;
    this.#supervisor = supervisor;
    this.#log = log;
    this.#endpoints = endpointsOf(home, ports);
    this.#provisioner = new Provisioner(home, ports.nats, log);
    this.#services = new Map(
      allServices.map((name) => [name, supervisor.add(serviceProcess(name, home, ports, settings))]),
    );
  }

  async start(services: readonly ServiceName[], pilotModel: boolean): Promise<void> {
    const log = this.#log;
    await step(log, "keys, certificates, trust bundle", async () => {
      await ensureCertificates(this.#home, new Date());
      await ensureClientCertificates(this.#home, new Date());
      ensureTrust(this.#home, new Date());
    });
    await Promise.all([
      step(log, "Postgres", () => this.#startPostgres()),
      step(log, "NATS", () => this.#startNats()),
      step(log, "issuer and access tokens", () => this.#startIssuer()),
    ]);
    if (services.length > 0) {
      await step(log, `services (${services.length})`, () => this.#startServices(services));
    }
    let pilot: string | undefined;
    if (pilotModel && services.includes("governance")) {
      pilot = await step(log, "pilot model", () => this.#ensurePilotModel());
    }
    if (services.length > 0) {
      const health = Object.fromEntries(services.map((name) => [name, this.#endpoints.health[name]!]));
      const served = { "inference-worker": pilot ? [`model ${pilot}`] : [] };
      await step(log, "everything ready", () => waitReady(health, READY_TIMEOUT_MS, served));
    }
    writeEndpoints(this.#home, this.#endpoints);
  }

  /** The door first, so that nothing new comes in; the bus and the database last. */
  async stop(): Promise<void> {
    for (const close of this.#closing) close();
    const first = [this.#services.get("gateway")!];
    const others = [...this.#services.values()].filter((service) => !first.includes(service));
    const infrastructure = [this.#issuer, this.#nats, this.#postgres].filter((child) => child !== undefined);
    await this.#provisioner.close();
    await this.#supervisor.stop([first, others, infrastructure]);
  }

  platform(stop: () => Promise<void>): Platform {
    const home = this.#home;
    const nats = this.#handle(this.#nats!);
    const store = storeDir(home);
    return {
      home,
      ports: this.#ports,
      endpoints: this.#endpoints,
      token: (name) => readFileSync(tokenFile(home, name), "utf8"),
      service: (name) => this.#handle(this.#services.get(name)!, this.#endpoints.health[name]),
      issuer: this.#handle(this.#issuer!),
      issuerKeysFile: ensureIssuerFiles(home).keys,
      postgres: this.#handle(this.#postgres!),
      nats: Object.defineProperties(nats, {
        url: { value: this.#endpoints.nats },
        storeDir: { value: store },
        seedFile: { value: (user: Parameters<typeof seedFile>[1]) => seedFile(home, user) },
        wipe: { value: () => this.#wipe(nats, store) },
      }) as Platform["nats"],
      stop,
    };
  }

  async #wipe(nats: ProcessHandle, store: string): Promise<void> {
    nats.kill("SIGKILL");
    await nats.stop();
    rmSync(store, { recursive: true, force: true });
    await nats.start();
  }

  async #startPostgres(): Promise<void> {
    const { postgres: port } = this.#ports;
    const cluster = await prepareCluster(this.#home, port, this.#log);
    this.#postgres = this.#supervisor.add(clusterProcess(cluster, () => grantSchemas(this.#home, port)));
    await this.#postgres.start();
  }

  async #startNats(): Promise<void> {
    const binary = await findNatsServer({ cacheDir: this.#home.binDir, log: this.#log });
    this.#log(`nats-server: ${binary.version} (${binary.source})`);
    const config = writeConfig(this.#home, this.#ports.nats, GATEWAY_ID);
    const hooks = { provision: () => this.#provision(), cannotWrite: () => this.#writeFailed.add(this.#nats?.pid) };
    const nats = this.#supervisor.add(natsProcess(binary.path, config, this.#home, hooks));
    this.#nats = nats;
    await nats.start();
    this.#watchStore(nats);
  }

  async #provision(): Promise<void> {
    await this.#provisioner.provision();
    this.#provisioned = this.#nats?.pid;
  }

  /** A server whose files were taken away goes on in memory until it fails, and one whose disk was full refuses to the end. */
  #watchStore(nats: Supervised): void {
    const store = storeDir(this.#home);
    const problem = () => {
      if (!hasStreams(store)) return "its files are gone";
      return this.#writeFailed.has(nats.pid) && freeBytes(store) > ENOUGH_BYTES ? "its disk was full" : undefined;
    };
    let seen = { pid: nats.pid, at: Date.now() };
    const timer = setInterval(() => {
      if (nats.pid !== seen.pid) seen = { pid: nats.pid, at: Date.now() };
      // A server that has just started may not have made them yet. One that lost them while it was being provisioned
      // refuses what it is asked for to the end.
      const begun = nats.pid === this.#provisioned || Date.now() - seen.at > PROVISION_MS;
      if (nats.pid === undefined || !begun) return;
      const why = problem();
      if (why === undefined) return;
      this.#provisioned = undefined;
      this.#log(`nats: ${why}; starting it again`);
      void nats.restart().catch((error: Error) => this.#log(`nats: ${error.message}`));
    }, STORE_CHECK_MS).unref();
    this.#closing.push(() => clearInterval(timer));
  }

  async #startIssuer(): Promise<void> {
    const files = ensureIssuerFiles(this.#home);
    this.#issuer = this.#supervisor.add(issuerProcess(this.#ports.issuer, files, this.#home.compileCacheDir));
    await this.#issuer.start();
    const tokens = await keepTokens(this.#home, issuerUrl(this.#ports), files.clients, this.#log);
    this.#closing.push(() => tokens.stop());
  }

  async #startServices(services: readonly ServiceName[]): Promise<void> {
    await Promise.all(services.map((name) => this.#services.get(name)!.start()));
  }

  async #ensurePilotModel(): Promise<string | undefined> {
    const url = this.#endpoints.health.governance!;
    await waitReady({ governance: url }, READY_TIMEOUT_MS);
    const token = (name: string) => readFileSync(tokenFile(this.#home, name), "utf8");
    return ensurePilotModel(this.#endpoints, { importer: token("operator"), approver: token("approver") }, this.#log);
  }

  #handle(child: Supervised, health?: string): ProcessHandle {
    return {
      name: child.name,
      logFile: join(this.#home.logsDir, `${child.name}.jsonl`),
      get pid() {
        return child.pid;
      },
      get restarts() {
        return child.restarts;
      },
      kill: (signal) => child.kill(signal),
      stop: () => child.stop(),
      start: () => child.start(),
      restart: () => child.restart(),
      whenReady: async (timeoutMs = READY_TIMEOUT_MS) => {
        await child.whenReady(timeoutMs);
        if (health) await waitReady({ [child.name]: health }, timeoutMs);
      },
    };
  }
}

function freeBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}
