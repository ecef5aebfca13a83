/** Who calls the client API, for gRPC and HTTP alike. */
import { type Caller, readClientCertificate, switchCode, switchError } from "@sallyport/runtime";
import type { Context } from "../context.ts";

export interface Shown {
  readonly bearer: string | undefined;
  /** DER, verified by TLS. */
  readonly certificate: Uint8Array | undefined;
}

/**
 * Throws what CallerVerifier.verify throws, CREDENTIAL_REVOKED, or STATE_STALE. Pauses and bans are looked at where it is
 * known what the call is about: receipts are given out in spite of them.
 */
export async function identify({ callers, switches }: Context, { bearer, certificate }: Shown): Promise<Caller> {
  const shown = certificate && readClientCertificate(certificate);
  const caller = await callers.verify({ bearer, certificate: shown });
  const found = switches.find(caller);
  if (found?.kind === "revocation") throw switchError(switchCode(found));
  return caller;
}
