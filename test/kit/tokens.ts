/** Access tokens that must be refused, made with the dev issuer's own key where that is the point. */
import type { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeJwt, decodeProtectedHeader, exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";
import type { TestPlatform } from "./index.ts";

export interface Mint {
  expiresInS?: number;
  audience?: string;
  issuer?: string;
  algorithm?: "none" | "HS256";
  foreignKey?: boolean;
  claims?: Record<string, unknown>;
}

/** A token like the user's, less what `change` makes wrong with it. */
export async function mint(sallyport: TestPlatform, change: Mint): Promise<string> {
  const token = sallyport.token("user");
  const header = decodeProtectedHeader(token);
  const now = Math.floor(Date.now() / 1_000);
  const claims = {
    ...decodeJwt(token),
    iat: now - 300,
    exp: now + (change.expiresInS ?? 600),
    ...(change.audience && { aud: change.audience }),
    ...(change.issuer && { iss: change.issuer }),
    ...change.claims,
  };
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  if (change.algorithm === "none") return `${encode({ ...header, alg: "none" })}.${encode(claims)}.`;
  const jwk = issuerKey(sallyport, header.kid);
  if (change.algorithm === "HS256") {
    const { d: _, ...publicJwk } = jwk;
    const pem = await exportSPKI((await importJWK(publicJwk, "ES256", { extractable: true })) as webcrypto.CryptoKey);
    return new SignJWT(claims).setProtectedHeader({ ...header, alg: "HS256" }).sign(new TextEncoder().encode(pem));
  }
  const key = change.foreignKey ? (await generateKeyPair("ES256")).privateKey : await importJWK(jwk, "ES256");
  return new SignJWT(claims).setProtectedHeader({ ...header, alg: "ES256" }).sign(key);
}

function issuerKey({ platform }: TestPlatform, kid: string | undefined): JWK {
  const { keys } = JSON.parse(readFileSync(join(platform.home.issuerDir, "keys.json"), "utf8")) as { keys: JWK[] };
  return keys.find((key) => key.kid === kid) ?? keys[0]!;
}
