import { isIP } from "node:net";
import { createRemoteJWKSet, errors, type FlattenedJWSInput, type JWTHeaderParameters } from "jose";
import { AppError } from "./errors.ts";
import type { IssuerConfig } from "./identity.ts";

const fetchTimeoutMs = 3_000;
const cacheMaxAgeMs = 10 * 60_000;
/** An unknown key id may be a new key: asked for at most so often, since anyone can send one. */
const cooldownMs = 15_000;
/** After a fetch that failed nobody waits for another so long. */
const failureCooldownMs = 1_000;

export type KeySource = (header: JWTHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>;
type CryptoKey = Awaited<ReturnType<ReturnType<typeof createRemoteJWKSet>>>;

/** An issuer's public keys. Throws UNAVAILABLE (ISSUER_UNAVAILABLE) when they cannot be had. */
export function createKeySource(jwksUri: string): KeySource {
  const keys = createRemoteJWKSet(new URL(jwksUri), {
    timeoutDuration: fetchTimeoutMs,
    cacheMaxAge: cacheMaxAgeMs,
    cooldownDuration: cooldownMs,
  });
  let failedAt = Number.NEGATIVE_INFINITY;
  return async (header, token) => {
    if (!keys.fresh && performance.now() - failedAt < failureCooldownMs) throw unavailable();
    try {
      return await keys(header, token);
    } catch (error) {
      const aboutTheToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      if (aboutTheToken) throw error;
      failedAt = performance.now();
      throw unavailable(error);
    }
  };
}

function unavailable(cause?: unknown): AppError {
  const message = "the token's issuer cannot be reached to check it; try again";
  return new AppError("UNAVAILABLE", message, { reason: "ISSUER_UNAVAILABLE", cause });
}

/** Validates OIDC_ISSUERS; errors read well after the variable's name. Plain HTTP is for a loopback issuer only. */
export function parseIssuers(value: unknown): IssuerConfig[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > 16) throw new Error("must list 1 to 16 issuers");
  const issuers = value.map((entry, i) => parseIssuer(entry, `issuer ${i}`));
  if (new Set(issuers.map(({ issuer }) => issuer)).size < issuers.length) throw new Error("names an issuer twice");
  return issuers;
}

function parseIssuer(entry: unknown, where: string): IssuerConfig {
  const { issuer, audience, jwksUri, tenants, ...rest } = (entry ?? {}) as Record<string, unknown>;
  for (const [name, text] of Object.entries({ issuer, audience, jwksUri })) {
    if (typeof text !== "string" || text === "") throw new Error(`${where} needs a string ${name}`);
  }
  if (Object.keys(rest).length > 0) throw new Error(`${where} has unknown fields: ${Object.keys(rest).join(", ")}`);
  const url = URL.parse(jwksUri as string);
  if (url?.protocol !== "https:" && !(url?.protocol === "http:" && isLoopback(url.hostname))) {
    throw new Error(`${where} needs an https jwksUri (http only on a loopback address)`);
  }
  return {
    ...{ issuer: issuer as string, audience: audience as string, jwksUri: url.href },
    ...(tenants !== undefined && { tenants: parseTenants(tenants, where) }),
  };
}

function parseTenants(value: unknown, where: string): readonly string[] {
  const listed = Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === "string" && name);
  if (!listed) throw new Error(`${where} needs a list of names as tenants, or none for any`);
  return value as string[];
}

/** 127.0.0.0/8, ::1 (with or without brackets) and `localhost`. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}
