/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import { fileURLToPath } from "node:url";
import type { Signer, TrustBundle } from "@sallyport/attestation";
import { type PolicyEngine, policyFromState } from "@sallyport/policy";
import { VaultService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { PostModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import {
  type Bus,
  type Client,
  type Clock,
  type Confirmer,
  createClient,
  createConfirmer,
  createLogger,
  createOutbox,
  createTokenVerifier,
  type Db,
  type Ids,
  joinBus,
  type Logger,
  loadSigner,
  loadTls,
  loadTrust,
  migrate,
  type Outbox,
  openDatabase,
  systemClock,
  systemIds,
  type TlsMaterial,
  type TokenVerifier,
  type WatchedState,
  watchState,
} from "@sallyport/runtime";
import type { Config } from "./config.ts";
import { type ModelStore, openModelStore } from "./core/model-store.ts";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly tls: TlsMaterial;
  readonly trust: TrustBundle;
  readonly db: Db;
  readonly bus: Bus;
  readonly outbox: Outbox;
  readonly confirmer: Confirmer;
  readonly tokens: TokenVerifier;
  /** The policy in force, as everybody else has it. */
  readonly policy: WatchedState<PolicyEngine>;
  readonly reviewSigner: Signer;
  readonly stateSigner: Signer;
  readonly store: ModelStore;
  readonly postModerator: Client<typeof PostModerationService>;
  readonly vault: Client<typeof VaultService>;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly ids?: Ids;
  readonly log?: Logger;
}

const migrations = fileURLToPath(new URL("./db/migrations/", import.meta.url));

export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, ids = systemIds, log = createLogger("governance", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  const store = await openModelStore(config.modelStoreDir, config.maxModelBytes, ids);
  await using stack = new AsyncDisposableStack();
  const { databaseUrl: url, databasePasswordFile: passwordFile } = config;
  const db = stack.use(await openDatabase({ url, passwordFile, caFile: config.tls.caFile, log }));
  await migrate(db, migrations);
  signal.throwIfAborted();
  const bus = stack.use(await joinBus(config, { service: "governance", tls, log, signal }));
  const outbox = createOutbox({ db, bus, producer: "governance", ids, clock, log });
  const policy = watchState({ bus, trust, clock, log, bucket: "policy", key: "active", decode: policyFromState });
  const client = <S extends "post-moderator" | "audit">(serverName: S) => ({ tls, serverName });
  stack.move();
  return {
    ...{ config, log, clock, ids, tls, trust, db, bus, outbox, policy, store },
    confirmer: createConfirmer(bus),
    tokens: createTokenVerifier(config.issuers, clock),
    reviewSigner: loadSigner(config.signingKeyFile, "review", log),
    stateSigner: loadSigner(config.signingKeyFile, "state", log),
    postModerator: createClient(PostModerationService, {
      ...client("post-moderator"),
      address: config.postModeratorAddress,
    }),
    vault: createClient(VaultService, { ...client("audit"), address: config.auditAddress }),
  };
}
