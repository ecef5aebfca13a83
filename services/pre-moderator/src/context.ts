/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import type { Signer } from "@sallyport/attestation";
import { type PolicyEngine, policyFromState } from "@sallyport/policy";
import {
  type Bus,
  type Clock,
  createLogger,
  joinBus,
  type Logger,
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

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly tls: TlsMaterial;
  readonly bus: Bus;
  readonly signer: Signer;
  readonly policy: WatchedState<PolicyEngine>;
  readonly switches: WatchedSwitches;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly log?: Logger;
}

export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, log = createLogger("pre-moderator", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  const signer = loadSigner(config.signingKeyFile, "door1", log);
  const bus = await joinBus(config, { service: "pre-moderator", tls, log, signal });
  const watch = { bus, trust, clock, log };
  const policy = watchState({ ...watch, bucket: "policy", key: "active", decode: policyFromState });
  return { config, log, clock, tls, bus, signer, policy, switches: watchSwitches(watch) };
}
