/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TrustBundle } from "@sallyport/attestation";
import { type PolicyEngine, policyFromState } from "@sallyport/policy";
import {
  AppError,
  type Bus,
  type Clock,
  type Confirmer,
  createConfirmer,
  createLogger,
  createTokenVerifier,
  type Db,
  type Ids,
  joinBus,
  type Logger,
  loadEncryptionKey,
  loadTls,
  loadTrust,
  migrate,
  openDatabase,
  type Reloaded,
  reloadFiles,
  systemClock,
  systemIds,
  type TlsMaterial,
  type TokenVerifier,
  type WatchedState,
  type WatchedSwitches,
  watchState,
  watchSwitches,
} from "@sallyport/runtime";
import { formatVkey, type NoteSigner, signatureType, verifierKeyOf } from "@sallyport/tlog";
import type { Config } from "./config.ts";
import type { Writer } from "./core/append-batch.ts";
import { type Appender, createAppender } from "./core/appender.ts";
import { createHeads, type Heads } from "./core/heads.ts";
import { openLog } from "./core/open-log.ts";
import { createVault, type Vault } from "./core/vault.ts";
import { type MasterKeys, readMasterKeys } from "./domain/master-key.ts";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly tls: TlsMaterial;
  readonly db: Db;
  readonly bus: Bus;
  readonly policy: WatchedState<PolicyEngine>;
  readonly switches: WatchedSwitches;
  readonly tokens: TokenVerifier;
  readonly heads: Heads;
  readonly appender: Appender;
  readonly confirmer: Confirmer;
  /** Aborts when the service is told to stop. */
  readonly stopping: AbortSignal;
  readonly vault: Vault;
  readonly masters: Reloaded<MasterKeys>;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly ids?: Ids;
  readonly log?: Logger;
}

const migrations = fileURLToPath(new URL("./db/migrations/", import.meta.url));

/** Connects everything and opens the log. Throws FAILED_PRECONDITION when the log on disk does not verify. */
export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, ids = systemIds, log = createLogger("audit", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  const writer: Writer = { signer: loadLogSigner(config, trust), epoch: ids.uuid() };
  const { vaultMasterKeyFile } = config;
  const readMasters = (known?: MasterKeys) => readMasterKeys(readFileSync(vaultMasterKeyFile, "utf8"), known);
  const masters = reloadFiles("vault", [vaultMasterKeyFile], readMasters, log);
  const vault = createVault(() => masters.current, loadEncryptionKey(config.encryptionKeyFile, log), log);
  await using stack = new AsyncDisposableStack();
  const { databaseUrl: url, databasePasswordFile: passwordFile } = config;
  const db = stack.use(await openDatabase({ url, passwordFile, caFile: config.tls.caFile, log }));
  await migrate(db, migrations);
  const heads = createHeads(db);
  const appender = createAppender({ db, writer, clock, log, onHead: heads.announce });
  await openLog({ db, writer, clock, appender });
  signal.throwIfAborted();
  const bus = stack.use(await joinBus(config, { service: "audit", tls, log, signal }));
  const watch = { bus, trust, clock, log };
  const policy = watchState({ ...watch, bucket: "policy", key: "active", decode: policyFromState });
  const switches = watchSwitches(watch);
  const tokens = createTokenVerifier(config.issuers, clock);
  const confirmer = createConfirmer(bus);
  stack.move();
  return {
    config,
    log,
    clock,
    tls,
    db,
    bus,
    policy,
    switches,
    tokens,
    heads,
    appender,
    confirmer,
    vault,
    masters,
    stopping: signal,
  };
}

/** A log whose key is not in the trust bundle could be verified by nobody: it is not written. */
function loadLogSigner({ signingKeyFile, logOrigin }: Config, trust: TrustBundle): NoteSigner {
  const signer = { name: logOrigin, privateKey: createPrivateKey(readFileSync(signingKeyFile)) };
  const vkey = formatVkey(verifierKeyOf(signer, signatureType.ed25519));
  if (trust.logs.some((known) => known.origin === logOrigin && known.vkey === vkey)) return signer;
  throw new AppError("FAILED_PRECONDITION", "the trust bundle does not appoint this key for this log", {
    reason: "LOG_KEY_NOT_TRUSTED",
  });
}
