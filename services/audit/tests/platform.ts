/** What the audit service finds when it starts on a platform: keys, trust, certificates, an issuer, policy, bus, database. */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
import { freePort, startTestIssuer, startTestNats, startTestPostgres } from "@sallyport/runtime/testing";
import { formatVkey, signatureType, verifierKeyOf } from "@sallyport/tlog";
import { servicePermissions } from "../../../infra/local/nats/permissions.ts";

const hourMs = 3_600_000;
export const logOrigin = "sallyport.local/log";

export async function testPlatform() {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-audit-"));
  const postgres = await startTestPostgres();
  // The rights that the platform gives the service, and no others.
  const permissions = { audit: servicePermissions("audit", "gw-0") };
  const nats = await startTestNats({ ca: postgres.ca, permissions });
  await nats.provision();
  const keys = createKeys();
  const issuer = await startTestIssuer();
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
    OIDC_ISSUERS: issuer.config,
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
    /** A person with this office on the whole platform, or in one tenant alone. */
    token(group: string, lifetimeS = 600, tenant?: string) {
      const groups = tenant === undefined ? [group, "sallyport-platform"] : [group];
      return issuer.token({ subject: `a-${group}`, groups, tenant: tenant ?? "acme", lifetimeS });
    },
    async close() {
      await governance[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
      await issuer[Symbol.asyncDispose]();
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

function pem(key: KeyObject): string | Buffer {
  return key.export({ type: "pkcs8", format: "pem" });
}
