/** Who calls: JWT access tokens (RFC 9068 and plain JWTs) of configured OIDC issuers, checked with their published keys. */
import { createHash, hash } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import type { Clock } from "./clock.ts";
import { AppError } from "./errors.ts";
import { type ClientCertificate, thumbprintOf } from "./identity-certificate.ts";
import { createKeySource, type KeySource } from "./jwks.ts";

/** Asymmetric only: nobody who can verify can also sign. */
const tokenAlgorithms = ["ES256", "EdDSA", "RS256", "PS256"] as const;
const clockToleranceSeconds = 30;
const maxTokenLength = 16 * 1024;
const maxGroups = 200;
const rememberMs = 30_000;
const maxRemembered = 10_000;

export interface IssuerConfig {
  /** Exactly the token's `iss`. */
  readonly issuer: string;
  /** Must be among the token's `aud`. */
  readonly audience: string;
  readonly jwksUri: string;
  /**
   * The tenants that this issuer may name; left out: any. With several issuers each should have its own, or one of them
   * could name the other's.
   */
  readonly tenants?: readonly string[];
}

export interface CallerIdentity {
  /** `tenant` claim: 1 to 64 of [a-z0-9-], the first no hyphen: what a ticket can name. */
  readonly tenant: string;
  /** `sub`, or for a client without one `client_id`. */
  readonly subject: string;
  readonly issuer: string;
  readonly groups: readonly string[];
  /** `jti`, or a digest of the token: names it in records and revocations, and is of no use to a thief. */
  readonly credential: string;
}

export interface TokenVerifier {
  /**
   * Throws UNAUTHENTICATED with reason TOKEN_MISSING, TOKEN_MALFORMED, TOKEN_ALGORITHM, TOKEN_ISSUER, TOKEN_AUDIENCE,
   * TOKEN_SIGNATURE, TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, TOKEN_CLAIMS, TOKEN_TENANT (the issuer may not name it) or
   * TOKEN_BINDING (RFC 8705: bound to a certificate that the caller has not shown); UNAVAILABLE (ISSUER_UNAVAILABLE) when the
   * issuer's keys cannot be had. No message holds any of the token.
   */
  verify(bearer: string | undefined, certificate?: ClientCertificate): Promise<CallerIdentity>;
}

export function createTokenVerifier(issuers: readonly IssuerConfig[], clock: Clock): TokenVerifier {
  const known = new Map(issuers.map((issuer) => [issuer.issuer, { ...issuer, keys: createKeySource(issuer.jwksUri) }]));
  const verified = new VerifiedTokens(clock);
  return {
    async verify(bearer, certificate) {
      if (bearer === undefined || bearer === "") {
        throw refused("TOKEN_MISSING", "send an access token: `authorization: Bearer <token>`");
      }
      const remembered = verified.find(bearer);
      const issuer = remembered?.issuer ?? known.get(issuerOf(bearer));
      if (issuer === undefined) throw refused("TOKEN_ISSUER", "the token's issuer is not one that is trusted here");
      const payload = remembered?.payload ?? (await verifySigned(bearer, issuer, clock));
      if (!remembered) verified.add(bearer, { payload, issuer });
      checkBinding(payload, certificate);
      return identityOf(payload, issuer, bearer);
    },
  };
}

type Issuer = IssuerConfig & { readonly keys: KeySource };

interface Verified {
  readonly payload: JWTPayload;
  readonly issuer: Issuer;
}

/**
 * Tokens whose signature and claims were good a moment ago: a caller comes with the same one again and again. Shorter than
 * the issuer's keys are kept anyway, so nothing is believed for longer. Only digests of tokens are kept.
 */
class VerifiedTokens {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Verified & { readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  find(token: string): Verified | undefined {
    const entry = this.#entries.get(digestOf(token));
    if (entry === undefined) return undefined;
    const now = this.#clock.now().getTime();
    const expired = now / 1_000 >= (entry.payload.exp ?? 0);
    return expired || now < entry.at || now >= entry.at + rememberMs ? undefined : entry;
  }

  add(token: string, verified: Verified): void {
    const digest = digestOf(token);
    this.#entries.delete(digest);
    if (this.#entries.size >= maxRemembered) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(digest, { ...verified, at: this.#clock.now().getTime() });
  }
}

function digestOf(token: string): string {
  return hash("sha256", token, "base64");
}

/** Checks what can be read before the signature is, so that each fault is told by its name. */
function issuerOf(token: string): string {
  const malformed = refused("TOKEN_MALFORMED", "the token is not a signed JWT");
  if (token.length > maxTokenLength || token.split(".").length !== 3) throw malformed;
  let header: ReturnType<typeof decodeProtectedHeader>;
  let payload: JWTPayload;
  try {
    [header, payload] = [decodeProtectedHeader(token), decodeJwt(token)];
  } catch {
    throw malformed;
  }
  if (!tokenAlgorithms.some((algorithm) => algorithm === header.alg)) {
    throw refused("TOKEN_ALGORITHM", `the token must be signed with one of ${tokenAlgorithms.join(", ")}`);
  }
  const type: unknown = header.typ === undefined ? "JWT" : header.typ;
  if (typeof type !== "string" || !/^(application\/)?(at\+)?jwt$/i.test(type)) {
    throw refused("TOKEN_MALFORMED", "the token's type must be `at+jwt` or `JWT`: send an access token");
  }
  return typeof payload.iss === "string" ? payload.iss : "";
}

async function verifySigned(token: string, issuer: IssuerConfig & { keys: KeySource }, clock: Clock) {
  try {
    const { payload } = await jwtVerify(token, issuer.keys, {
      issuer: issuer.issuer,
      audience: issuer.audience,
      algorithms: [...tokenAlgorithms],
      clockTolerance: clockToleranceSeconds,
      currentDate: clock.now(),
      requiredClaims: ["exp"],
    });
    return payload;
  } catch (error) {
    throw faultOf(error, issuer.audience);
  }
}

function faultOf(error: unknown, audience: string): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof errors.JWTExpired) {
    return refused("TOKEN_EXPIRED", "the token has expired: get a new one from its issuer");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud") return refused("TOKEN_AUDIENCE", `the token is not for ${audience}`);
    if (error.claim === "nbf") return refused("TOKEN_NOT_YET_VALID", "the token is not valid yet");
    return refused("TOKEN_CLAIMS", `the token's claim \`${error.claim}\` is missing or wrong`);
  }
  if (
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys
  ) {
    return refused("TOKEN_SIGNATURE", "the token is not signed by a key of its issuer");
  }
  return refused("TOKEN_MALFORMED", "the token is not a signed JWT");
}

/** Any confirmation that cannot be checked here refuses: the token says that its bearer alone is not enough. */
function checkBinding({ cnf }: JWTPayload, certificate: ClientCertificate | undefined): void {
  if (cnf === undefined) return;
  const { "x5t#S256": thumbprint, ...others } = (cnf ?? {}) as Record<string, unknown>;
  const bound = typeof thumbprint === "string" && Object.keys(others).length === 0;
  if (bound && certificate && thumbprintOf(certificate) === thumbprint) return;
  throw refused("TOKEN_BINDING", "the token is bound to a client certificate: connect with that certificate");
}

function identityOf(payload: JWTPayload, { issuer, tenants }: IssuerConfig, token: string): CallerIdentity {
  const { tenant, sub, client_id: clientId, groups = [], jti } = payload;
  if (typeof tenant !== "string" || !/^[a-z0-9][a-z0-9-]{0,63}$/.test(tenant)) {
    throw refused(
      "TOKEN_CLAIMS",
      "the token needs a claim `tenant`: 1 to 64 characters of a-z, 0-9 and -, not beginning with -",
    );
  }
  if (tenants && !tenants.includes(tenant)) {
    throw refused("TOKEN_TENANT", "the token's issuer may not name this tenant");
  }
  const subject = sub ?? clientId;
  if (!isName(subject, 256)) throw refused("TOKEN_CLAIMS", "the token needs a claim `sub` or `client_id`");
  if (!Array.isArray(groups) || groups.length > maxGroups || !groups.every((group) => isName(group, 128))) {
    throw refused("TOKEN_CLAIMS", `the token's claim \`groups\` must be a list of at most ${maxGroups} names`);
  }
  const credential = isName(jti, 128) ? jti : createHash("sha256").update(token).digest("hex").slice(0, 32);
  return Object.freeze({ tenant, subject, issuer, groups: Object.freeze([...groups]), credential });
}

/** Names go into records, logs and review lists: no control or formatting characters, which could disguise them. */
function isName(value: unknown, maxLength: number): value is string {
  return (
    typeof value === "string" && value.length > 0 && value.length <= maxLength && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value)
  );
}

function refused(reason: string, message: string): AppError {
  return new AppError("UNAUTHENTICATED", message, { reason });
}
