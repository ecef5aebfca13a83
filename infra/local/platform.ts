import { join } from "node:path";
import { services as allServices, type ServiceName } from "@sallyport/proto/subjects";
import type { Endpoints } from "./endpoints.ts";
import { defaultHome, type Home, openHome } from "./home.ts";
import type { BusUser } from "./nats/permissions.ts";
import { Parts } from "./parts.ts";
import { assertPortsFree, DEFAULT_PORT_BASE, type Ports, portsFrom } from "./ports.ts";
import { takeLock } from "./process/lock.ts";
import { Supervisor } from "./process/supervisor.ts";
import { DEFAULT_POLICY_BUNDLE, type ServiceSettings } from "./services.ts";

export interface PlatformOptions extends Partial<ServiceSettings> {
  /** Default: SALLYPORT_HOME or `.sallyport/` of this checkout. */
  readonly home?: string;
  readonly portBase?: number;
  /** Progress, restarts, everything worth telling; one line a call. */
  readonly log?: (line: string) => void;
  /** Which services to start; the rest can be started later through their handles. Default: all seven. */
  readonly services?: readonly ServiceName[];
  /** Import and approve the pilot model when the registry lacks it (needs governance). Default: true. */
  readonly pilotModel?: boolean;
  /** Gives the start up: what had started is stopped, and startPlatform rejects. */
  readonly signal?: AbortSignal;
}

export interface ProcessHandle {
  readonly name: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  readonly logFile: string;
  /** How often it was started again after a crash. */
  readonly restarts: number;
  /** Signals the process alone. After a deadly signal the supervisor starts it again, as after any crash. */
  kill(signal: NodeJS.Signals): void;
  /** Stops it for good, until start() or restart(). */
  stop(): Promise<void>;
  start(): Promise<void>;
  restart(): Promise<void>;
  /** Up, and for a service ready for work. Rejects after `timeoutMs` (default 60 s). */
  whenReady(timeoutMs?: number): Promise<void>;
}

export interface Platform {
  readonly home: Home;
  readonly ports: Ports;
  readonly endpoints: Endpoints;
  /** Access token of `user`, `reviewer`, `operator`, `approver`, `auditor` or `outsider` (another tenant), always fresh. */
  token(name: string): string;
  service(name: ServiceName): ProcessHandle;
  readonly issuer: ProcessHandle;
  /** The dev issuer's private JWKS, for tests that make tokens which must be refused. */
  readonly issuerKeysFile: string;
  readonly nats: ProcessHandle & {
    readonly url: string;
    readonly storeDir: string;
    seedFile(user: BusUser): string;
    /** kill -9, JetStream's folder removed, up again. */
    wipe(): Promise<void>;
  };
  readonly postgres: ProcessHandle;
  /** Ordered: services, issuer, bus, database. */
  stop(): Promise<void>;
}

/**
 * Starts a whole platform on one machine. Throws HomeInUse when another runner holds the home, an Error naming the port
 * when one is taken, an Error with a child's last words when it does not come up; whatever had started is stopped then.
 */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const log = options.log ?? (() => {});
  const ports = portsFrom(options.portBase ?? DEFAULT_PORT_BASE);
  const home = openHome(options.home ?? defaultHome());
  await using undo = new AsyncDisposableStack();
  undo.defer(takeLock(join(home.runDir, "lock"), home.root));
  const childrenFile = join(home.runDir, "children.json");
  const supervisor = await Supervisor.open({ logsDir: home.logsDir, childrenFile, report: log });
  const parts = new Parts(home, ports, supervisor, settingsOf(options), log);
  undo.defer(() => parts.stop());
  await assertPortsFree(ports);
  await unlessAborted(options.signal, parts.start(options.services ?? allServices, options.pilotModel ?? true));
  const running = undo.move();
  return parts.platform(() => running.disposeAsync());
}

function settingsOf(options: PlatformOptions): ServiceSettings {
  return {
    logLevel: options.logLevel ?? process.env.LOG_LEVEL ?? "info",
    policyBundleDir: options.policyBundleDir ?? DEFAULT_POLICY_BUNDLE,
    remoteEndpoints: options.remoteEndpoints ?? JSON.parse(process.env.SALLYPORT_REMOTE_ENDPOINTS ?? "{}"),
    extraEnv: options.extraEnv ?? {},
  };
}

async function unlessAborted(signal: AbortSignal | undefined, work: Promise<void>): Promise<void> {
  if (!signal) return work;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  // What is still under way fails once its children are stopped; nobody waits for it.
  work.catch(() => {});
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
