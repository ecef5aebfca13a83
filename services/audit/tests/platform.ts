/** What the audit service finds when it starts on a platform: keys, trust, certificates, an issuer, policy, bus, database. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createSigner,
  createTrustBundle,
  encodeEnvelopeJson,
  type Json,
  keyIdOf,
  signState,
} from "@sallyport/attestation";
import { defaultBundleDir, loadBundle, policyToState } from "@sallyport/policy";
import { createLogger, putState } from "@sallyport/runtime";
import { freePort, startTestNats, startTestPostgres } from "@sallyport/runtime/testing";
import { formatVkey, signatureType, verifierKeyOf } from "@sallyport/tlog";
import { servicePermissions } from "../../../infra/local/nats/permissions.ts";

const hourMs = 3_600_000;
const audience = "sallyport";
export const logOrigin = "sallyport.local/log";

export async function testPlatform() {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-audit-"));
  const postgres = await startTestPostgres();
  // The rights that the platform gives the service, and no others.
  const permissions = { audit: servicePermissions("audit", "gw-0") };
  const nats = await startTestNats({ ca: postgres.ca, permissions });
  await nats.provision();
  const keys = createKeys();
  const issuer = await startIssuer();
  const write = (name: string, contents: string | Uint8Array) => {
    writeFileSync(join(dir, name), contents, { mode: 0o600 });
    return join(dir, name);
  };
  const database = await postgres.database();
  const tls = await postgres.ca.issue("audit");
  const port = async () => `127.0.0.1:${await freePort()}`;
  const env = {
    HEALTH_ADDRESS: await port(),
    GRPC_ADDRESS: await port(),
    INTERNAL_GRPC_ADDRESS: await port(),
    HTTP_ADDRESS: await port(),
    TLS_CERT_FILE: tls.certFile,
    TLS_KEY_FILE: tls.keyFile,
    TLS_CA_FILE: tls.caFile,
    SIGNING_KEY_FILE: write("signing.pem", pem(keys.log)),
    ENCRYPTION_KEY_FILE: write("encryption.pem", pem(keys.vault.privateKey)),
    TRUST_BUNDLE_FILE: write("trust.json", keys.trust),
    TRUST_ROOT_FILE: write("root.pem", keys.root.publicKey.export({ type: "spki", format: "pem" })),
    NATS_URL: nats.url,
    NATS_NKEY_FILE: write("nkey", nats.seed("audit")),
    DATABASE_URL: database.url,
    DATABASE_PASSWORD_FILE: database.passwordFile,
    OIDC_ISSUERS: JSON.stringify([{ issuer: issuer.url, audience, jwksUri: `${issuer.url}/jwks` }]),
    LOG_ORIGIN: logOrigin,
    VAULT_MASTER_KEY_FILE: write("master-key", randomBytes(32).toString("hex")),
  };
  const governance = await nats.bus("governance", createLogger("governance", "error"));
  await putState(governance, "policy", "active", keys.signPolicy());
  await putState(governance, "switches", "active", keys.signSwitches(1));
  return {
    ...{ env, nats, governance, ca: postgres.ca, vaultKey: keys.vault.publicKey, logKey: keys.logKey },
    issuer: issuer.url,
    /** What is switched off from now on. */
    switchOff: (version: number, ...switches: Json[]) =>
      putState(governance, "switches", "active", keys.signSwitches(version, ...switches)),
    token: issuer.token,
    async close() {
      await governance[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
      await issuer.close();
      rmSync(dir, { recursive: true });
    },
  };
}

export type AuditPlatform = Awaited<ReturnType<typeof testPlatform>>;

function createKeys() {
  const [root, state] = [generateKeyPairSync("ed25519"), generateKeyPairSync("ed25519")];
  const log = generateKeyPairSync("ed25519").privateKey;
  const vault = generateKeyPairSync("x25519");
  const logKey = verifierKeyOf({ name: logOrigin, privateKey: log }, signatureType.ed25519);
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const trust = createTrustBundle(
    {
      version: 1,
      issuedAt: at(-hourMs),
      expiresAt: at(hourMs),
      keys: [
        {
          keyid: keyIdOf(state.publicKey),
          service: "governance",
          stages: ["state"],
          publicKey: state.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
          notBefore: at(-hourMs),
          notAfter: at(hourMs),
        },
      ],
      encryption: [{ service: "audit", kid: "audit-1", publicKey: vault.publicKey.export({ format: "jwk" }).x! }],
      logs: [{ origin: logOrigin, vkey: formatVkey(logKey) }],
    },
    root.privateKey,
  );
  const sign = (bucket: string, version: number, value: Json) => {
    const unsigned = { bucket, key: "active", version, value, issuedAt: new Date().toISOString() };
    return encodeEnvelopeJson(signState(createSigner(state.privateKey, "state"), unsigned));
  };
  const signPolicy = () => sign("policy", 1, { ...policyToState(loadBundle(defaultBundleDir)) });
  const signSwitches = (version: number, ...switches: Json[]) => sign("switches", version, { switches, lifted: [] });
  return { root, log, logKey, vault, trust, signPolicy, signSwitches };
}

/** Publishes its key over HTTP and signs access tokens (ES256) for whoever asks. */
async function startIssuer() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" };
  const server = createServer((_, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    /** A person with this office on the whole platform, or in one tenant alone. */
    token: (group: string, lifetimeS = 600, tenant?: string) => signToken(privateKey, url, group, lifetimeS, tenant),
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

function signToken(key: KeyObject, iss: string, group: string, lifetimeS: number, tenant?: string): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1_000) + lifetimeS;
  const groups = tenant === undefined ? [group, "sallyport-platform"] : [group];
  const claims = { iss, aud: audience, sub: `a-${group}`, tenant: tenant ?? "acme", groups, exp };
  const signed = `${encode({ alg: "ES256", kid: "k1", typ: "at+jwt" })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

function pem(key: KeyObject): string | Buffer {
  return key.export({ type: "pkcs8", format: "pem" });
}
