/** fromConfig: plain constructors, no container; `overrides` is the test seam. */
import type { DecryptionKeys, Signer, TrustBundle } from "@sallyport/attestation";
import {
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
  type WatchedSwitches,
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
  readonly encryptionKey: DecryptionKeys;
  readonly trust: TrustBundle;
  readonly switches: WatchedSwitches;
}

export interface Overrides {
  readonly clock?: Clock;
  readonly log?: Logger;
}

/**
 * Reads keys and trust, and connects. Throws FAILED_PRECONDITION for a file that is no key, AttestationError when the
 * trust bundle does not hold or does not appoint this key to mark.
 */
export async function fromConfig(config: Config, signal: AbortSignal, overrides: Overrides = {}): Promise<Context> {
  const { clock = systemClock, log = createLogger("watermarker", config.logLevel) } = overrides;
  const tls = loadTls(config.tls, log);
  const signer = loadSigner(config.signingKeyFile, "watermarker", log);
  const encryptionKey = loadEncryptionKey(config.encryptionKeyFile, log);
  const trust = loadTrust(config.trustBundleFile, config.trustRootFile, clock, log);
  // Better no watermarker than one whose every mark is refused.
  trust.keyFor(signer.keyid, "watermarker", clock.now());
  const bus = await joinBus(config, { service: "watermarker", tls, log, signal });
  const switches = watchSwitches({ bus, trust, clock, log });
  return { config, log, clock, tls, bus, signer, encryptionKey, trust, switches };
}
