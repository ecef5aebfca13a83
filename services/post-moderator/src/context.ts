/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import type { DecryptionKeys, Signer, TrustBundle } from "@sallyport/attestation";
import { type PolicyEngine, policyFromState } from "@sallyport/policy";
import {
  AppError,
  type Bus,
  type Clock,
  createLogger,
  joinBus,
  type Logger,
  loadEncryptionKey,
  loadSigner,
  loadTls,
  loadTrust,
  systemClock,
  type TlsMaterial,
  type WatchedState,
  type WatchedSwitches,
  watchState,
  watchSwitches,
} from "@sallyport/runtime";
import type { Config } from "./config.ts";
import { Runs } from "./core/runs.ts";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly tls: TlsMaterial;
  readonly bus: Bus;
  readonly trust: TrustBundle;
  readonly signer: Signer;
  readonly countersigner: Signer;
  readonly encryptionKey: DecryptionKeys;
  readonly policy: WatchedState<PolicyEngine>;
  /** Digests of the approved models. */
  readonly models: WatchedState<ReadonlySet<string>>;
  readonly approvedModel: (digest: string) => boolean;
  readonly switches: WatchedSwitches;
  readonly runs: Runs;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly log?: Logger;
}

export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, log = createLogger("post-moderator", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  const signer = loadSigner(config.signingKeyFile, "door2", log);
  const countersigner = loadSigner(config.signingKeyFile, "countersign", log);
  const encryptionKey = loadEncryptionKey(config.encryptionKeyFile, log);
  const bus = await joinBus(config, { service: "post-moderator", tls, log, signal });
  const watch = { bus, trust, clock, log };
  const policy = watchState({ ...watch, bucket: "policy", key: "active", decode: policyFromState });
  const models = watchState({ ...watch, bucket: "models", key: "manifest", decode: readDigests });
  const approvedModel = (digest: string) => models.fresh && models.get().has(digest);
  const switches = watchSwitches(watch);
  const runs = new Runs(clock);
  return {
    config,
    log,
    clock,
    tls,
    bus,
    trust,
    signer,
    countersigner,
    encryptionKey,
    policy,
    models,
    approvedModel,
    switches,
    runs,
  };
}

function readDigests(value: unknown): ReadonlySet<string> {
  const { models } = value as { models?: { digest?: unknown }[] };
  const digests = Array.isArray(models) ? models.map(({ digest }) => digest) : [undefined];
  if (!digests.every((digest): digest is string => typeof digest === "string")) {
    throw new AppError("FAILED_PRECONDITION", "the manifest of models makes no sense", { reason: "MANIFEST_INVALID" });
  }
  return new Set(digests);
}
