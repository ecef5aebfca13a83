/** Who calls the client API, whichever credential it shows (docs/design/contracts.md, Callers' identities). */
import { isApiToken } from "./api-token.ts";
import type { Believed, CredentialRef, WatchedCredentials } from "./credentials.ts";
import { AppError } from "./errors.ts";
import type { CallerIdentity, TokenVerifier } from "./identity.ts";
import type { ClientCertificate } from "./identity-certificate.ts";

export interface Presented {
  /** Of `authorization: Bearer …`. */
  readonly bearer: string | undefined;
  /** That TLS has verified against the callers' CA. */
  readonly certificate?: ClientCertificate | undefined;
}

export interface Caller extends CallerIdentity {
  /** The entry that it is believed for; undefined for an access token, which its issuer vouches for. */
  readonly credentialRef?: CredentialRef;
}

export interface CallerVerifier {
  /** The bearer names the caller where both are there. Throws what TokenVerifier and WatchedCredentials throw. */
  verify(presented: Presented): Promise<Caller>;
}

/**
 * `grantable`: groups that an API token or a certificate may carry now. Those that policy has taken back since the credential
 * was made are left out.
 */
export function createCallerVerifier(
  tokens: TokenVerifier,
  credentials: Pick<WatchedCredentials, "token" | "certificate">,
  grantable: () => readonly string[],
): CallerVerifier {
  const carried = ({ identity, ref }: Believed): Caller => {
    const may = grantable();
    return { ...identity, groups: identity.groups.filter((group) => may.includes(group)), credentialRef: ref };
  };
  return {
    async verify({ bearer, certificate }) {
      if (bearer) {
        if (!isApiToken(bearer)) return tokens.verify(bearer, certificate);
        return carried(credentials.token(bearer));
      }
      if (!certificate) throw missing();
      return carried(credentials.certificate(certificate));
    },
  };
}

function missing(): AppError {
  const message =
    "send an access token or API token (`authorization: Bearer <token>`), or connect with a client certificate";
  return new AppError("UNAUTHENTICATED", message, { reason: "TOKEN_MISSING" });
}
