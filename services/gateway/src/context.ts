/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import { fileURLToPath } from "node:url";
import type { TrustBundle } from "@sallyport/attestation";
import { type PolicyEngine, policyFromState } from "@sallyport/policy";
import { ReceiptService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import {
  type Bus,
  type CallerVerifier,
  type Client,
  type Clock,
  type Confirmer,
  createCallerVerifier,
  createClient,
  createConfirmer,
  createLogger,
  createOutbox,
  createTokenVerifier,
  type Db,
  type Ids,
  joinBus,
  type Logger,
  loadCa,
  loadEncryptionKey,
  loadTls,
  loadTrust,
  migrate,
  type Outbox,
  openDatabase,
  systemClock,
  systemIds,
  type TlsMaterial,
  type WatchedCredentials,
  type WatchedState,
  type WatchedSwitches,
  watchCredentials,
  watchState,
  watchSwitches,
} from "@sallyport/runtime";
import type { Config, Limits } from "./config.ts";
import { Dispatcher } from "./core/dispatcher.ts";
import { InFlight } from "./core/in-flight.ts";
import { LiveRequests } from "./core/live.ts";
import { Moves } from "./core/moves.ts";
import { Quotas } from "./core/quotas.ts";
import { Runs } from "./core/runs.ts";
import { endingAtWork } from "./core/switched-off.ts";
import { type Manifest, readManifest } from "./domain/manifest.ts";
import type { PolicyCodes } from "./domain/outcomes.ts";

export interface Context {
  readonly config: Config;
  readonly limits: Limits;
  readonly log: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly tls: TlsMaterial;
  readonly db: Db;
  readonly bus: Bus;
  readonly outbox: Outbox;
  readonly confirmer: Confirmer;
  readonly trust: TrustBundle;
  readonly callers: CallerVerifier;
  /** Of the callers' certificates; undefined where none is asked for. */
  readonly clientCa: Pick<TlsMaterial, "ca" | "onChange"> | undefined;
  readonly switches: WatchedSwitches;
  readonly credentials: WatchedCredentials;
  readonly models: WatchedState<Manifest>;
  readonly policy: WatchedState<PolicyEngine>;
  /** What policy says to callers about its codes; nothing while it is stale. */
  readonly codes: () => PolicyCodes;
  readonly door1: Client<typeof PreModerationService>;
  readonly receipts: Client<typeof ReceiptService>;
  readonly live: LiveRequests;
  readonly runs: Runs;
  readonly moves: Moves;
  readonly inFlight: InFlight;
  readonly quotas: Quotas;
  readonly dispatcher: Dispatcher;
  /** False also while the manifest is stale. */
  readonly approvedModel: (digest: string) => boolean;
}

/** The parts that tests replace: time, ids and the log. */
export interface Overrides {
  readonly clock?: Clock;
  readonly ids?: Ids;
  readonly log?: Logger;
}

const migrations = fileURLToPath(new URL("./db/migrations/", import.meta.url));

export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, ids = systemIds, log = createLogger("gateway", config.logLevel) } = overrides;
  const { limits, databaseUrl: url, databasePasswordFile: passwordFile } = config;
  const tls = loadTls(config.tls, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  const encryptionKey = loadEncryptionKey(config.encryptionKeyFile, log);
  await using stack = new AsyncDisposableStack();
  const db = stack.use(await openDatabase({ url, passwordFile, caFile: config.tls.caFile, log }));
  await migrate(db, migrations);
  signal.throwIfAborted();
  const bus = stack.use(await joinBus(config, { service: "gateway", tls, log, signal }));
  const outbox = createOutbox({ db, bus, producer: "gateway", ids, clock, log });
  const watch = { bus, trust, clock, log };
  const models = watchState({ ...watch, bucket: "models", key: "manifest", decode: readManifest });
  const policy = watchState({ ...watch, bucket: "policy", key: "active", decode: policyFromState });
  const board = { switches: watchSwitches(watch), credentials: watchCredentials(watch) };
  const { switches, credentials } = board;
  const approvedModel = (digest: string) =>
    models.fresh && models.get().models.some((model) => model.digest === digest);
  const codes = () => (policy.fresh ? policy.get().settings.codes : {});
  const runs = new Runs({ db, trust, encryptionKey, clock, approvedModel });
  const live = new LiveRequests();
  const quotas = stack.use(new Quotas({ db: await openQuotaPool(config, log), log }));
  const dispatcher = new Dispatcher({ bus, db, runs, clock, log, limits, gatewayId: config.gatewayId });
  stack.move();
  return {
    ...{
      config,
      limits,
      log,
      clock,
      ids,
      tls,
      db,
      bus,
      outbox,
      trust,
      models,
      policy,
      switches,
      credentials,
      live,
      runs,
      quotas,
      dispatcher,
      approvedModel,
    },
    confirmer: createConfirmer(bus),
    callers: createCallerVerifier(
      createTokenVerifier(config.issuers, clock),
      credentials,
      () => policy.get().settings.credentials.grantable,
    ),
    clientCa: config.tlsClientCaFile === undefined ? undefined : loadCa(config.tlsClientCaFile, log),
    door1: createClient(PreModerationService, {
      tls,
      address: config.preModeratorAddress,
      serverName: "pre-moderator",
    }),
    receipts: createClient(ReceiptService, { tls, address: config.auditAddress, serverName: "audit" }),
    codes,
    moves: new Moves({
      ...{ outbox, bus, live, runs, quotas, dispatcher, clock, limits, log, codes },
      gatewayId: config.gatewayId,
      endingAtWork: (row) => endingAtWork(board, row),
    }),
    inFlight: new InFlight(limits.maxInFlight),
  };
}

/** A pool of its own, with little patience: a reservation neither waits behind the ledger nor for long. */
function openQuotaPool(config: Config, log: Logger): Promise<Db> {
  const { databaseUrl: url, databasePasswordFile: passwordFile, tls } = config;
  const options = { url, passwordFile, caFile: tls.caFile, log, max: 2, applicationName: "sallyport-quotas" };
  return openDatabase({ ...options, statementTimeoutMs: quotaStatementMs });
}

const quotaStatementMs = 2_000;
