/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { DecryptionKeys, Signer, TrustBundle } from "@sallyport/attestation";
import {
  AppError,
  type Bus,
  type Clock,
  createLogger,
  type Ids,
  joinBus,
  type Logger,
  loadEncryptionKey,
  loadSigner,
  loadTls,
  loadTrust,
  systemClock,
  systemIds,
  type WatchedState,
  type WatchedSwitches,
  watchState,
  watchSwitches,
} from "@sallyport/runtime";
import type { Config } from "./config.ts";
import { createEngine } from "./core/engines.ts";
import { RunRegistry } from "./core/run-registry.ts";
import type { ApprovedModel } from "./domain/manifest.ts";
import { type Manifest, readManifest } from "./domain/manifest.ts";
import type { Engine } from "./engine/engine.ts";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly signer: Signer;
  readonly encryptionKey: DecryptionKeys;
  readonly trust: TrustBundle;
  readonly bus: Bus;
  readonly manifest: WatchedState<Manifest>;
  readonly switches: WatchedSwitches;
  readonly guardPrompt: string;
  readonly runs: RunRegistry;
  readonly createEngine: (model: ApprovedModel) => Engine;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly ids?: Ids;
  readonly log?: Logger;
}

/** Reads keys and trust, and connects. Throws FAILED_PRECONDITION when this worker's key is not appointed. */
export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, ids = systemIds, log = createLogger("inference-worker", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const signer = loadSigner(config.signingKeyFile, "worker", log);
  const encryptionKey = loadEncryptionKey(config.encryptionKeyFile, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  // Better no worker than one whose every claim is refused.
  trust.keyFor(signer.keyid, "worker", clock.now());
  const guardPrompt = readGuardPrompt(config.guardPromptFile);
  const bus = await joinBus(config, { service: "inference-worker", tls, log, signal });
  const watch = { bus, trust, clock, log };
  return {
    ...{ config, log, clock, ids, signer, encryptionKey, trust, bus, guardPrompt },
    manifest: watchState<Manifest>({ ...watch, bucket: "models", key: "manifest", decode: readManifest }),
    switches: watchSwitches(watch),
    runs: new RunRegistry(),
    createEngine: (model) => createEngine(model, config, String(tls.ca), log),
  };
}

function readGuardPrompt(file: string): string {
  const text = readFileSync(file, "utf8").trim();
  if (text !== "") return text;
  throw new AppError("FAILED_PRECONDITION", `${resolve(file)} is empty`, { reason: "CONFIG_INVALID" });
}
