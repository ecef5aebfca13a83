import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface TestPerson {
  subject: string;
  groups: readonly string[];
  tenant?: string;
  /** Seconds; negative: expired. */
  lifetimeS?: number;
}

/** An issuer that publishes its key over HTTP and signs access tokens (ES256) for whoever the test says. */
export interface TestIssuer extends AsyncDisposable {
  readonly url: string;
  /** The value of OIDC_ISSUERS that trusts it. */
  readonly config: string;
  token(person: TestPerson): string;
}

const audience = "sallyport";

export async function startTestIssuer(): Promise<TestIssuer> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" };
  const server = createServer((_, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return {
    url,
    config: JSON.stringify([{ issuer: url, audience, jwksUri: `${url}/jwks` }]),
    token: ({ subject, groups, tenant = "acme", lifetimeS = 600 }) => {
      const exp = Math.floor(Date.now() / 1_000) + lifetimeS;
      const jti = createHash("sha256").update(`${subject} ${exp}`).digest("hex").slice(0, 16);
      const claims = { iss: url, aud: audience, sub: subject, tenant, groups, exp, jti };
      const signed = `${encode({ alg: "ES256", kid: "k1", typ: "at+jwt" })}.${encode(claims)}`;
      const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
      return `${signed}.${signature.toString("base64url")}`;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
