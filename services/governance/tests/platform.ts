/**
 * What governance finds on a platform, all of it real: Postgres, a bus with the platform's own permissions, an issuer, and its
 * neighbours post-moderator (countersigns) and audit (the vault) as processes of their own.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultBundleDir } from "@sallyport/policy";
import { CredentialService } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchService } from "@sallyport/proto/sallyport/governance/v1/switches";
import type { ServiceName } from "@sallyport/proto/subjects";
import { createClient, createLogger, parseAddress } from "@sallyport/runtime";
import { connectOperatorBus } from "@sallyport/runtime/break-glass";
import {
  createTestTrust,
  freePort,
  ServerProcess,
  startTestIssuer,
  startTestNats,
  startTestPostgres,
  waitFor,
} from "@sallyport/runtime/testing";
import { formatVkey, signatureType, verifierKeyOf } from "@sallyport/tlog";
import { operatorPermissions, servicePermissions } from "../../../infra/local/nats/permissions.ts";
import { readConfig } from "../src/config.ts";
import { fromConfig, type Overrides } from "../src/context.ts";
import { startService } from "../src/service.ts";

const logOrigin = "sallyport.local/log";
const log = createLogger("test", (process.env.TEST_LOG ?? "error") as "error");

export async function testPlatform() {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-governance-"));
  const postgres = await startTestPostgres();
  const names = ["governance", "audit", "post-moderator", "gateway"] as const;
  const permissions = Object.fromEntries(names.map((name) => [name, servicePermissions(name, "gw-0")]));
  const nats = await startTestNats({
    ca: postgres.ca,
    permissions: { ...permissions, operator: operatorPermissions() },
  });
  await nats.provision();
  const logKey = generateKeyPairSync("ed25519").privateKey;
  const vkey = formatVkey(verifierKeyOf({ name: logOrigin, privateKey: logKey }, signatureType.ed25519));
  const keys = createTestTrust({ logs: [{ origin: logOrigin, vkey }] });
  const { bundleFile, rootFile } = keys.write(dir);
  const issuer = await startTestIssuer();
  const [storeDir, bundleDir] = [join(dir, "models"), join(dir, "bundle")];
  mkdirSync(storeDir);
  cpSync(defaultBundleDir, bundleDir, { recursive: true });

  const write = (name: string, contents: string | Uint8Array) => {
    writeFileSync(join(dir, name), contents, { mode: 0o600 });
    return join(dir, name);
  };
  const port = async () => `127.0.0.1:${await freePort()}`;
  const common = async (service: ServiceName) => {
    const tls = await postgres.ca.issue(service);
    return {
      LOG_LEVEL: "warn",
      HEALTH_ADDRESS: await port(),
      GRPC_ADDRESS: await port(),
      TLS_CERT_FILE: tls.certFile,
      TLS_KEY_FILE: tls.keyFile,
      TLS_CA_FILE: tls.caFile,
      TRUST_BUNDLE_FILE: bundleFile,
      TRUST_ROOT_FILE: rootFile,
      NATS_URL: nats.url,
      NATS_NKEY_FILE: write(`${service}.nkey`, nats.seed(service)),
      SIGNING_KEY_FILE: join(dir, `${service}.signing.pem`),
      ENCRYPTION_KEY_FILE: join(dir, `${service}.encryption.pem`),
      OIDC_ISSUERS: issuer.config,
    };
  };
  const database = async () => {
    const { url, passwordFile } = await postgres.database();
    return { DATABASE_URL: url, DATABASE_PASSWORD_FILE: passwordFile };
  };
  const postModerator = await common("post-moderator");
  const audit = {
    ...(await common("audit")),
    ...(await database()),
    SIGNING_KEY_FILE: write("log.pem", pem(logKey)),
    INTERNAL_GRPC_ADDRESS: await port(),
    HTTP_ADDRESS: await port(),
    LOG_ORIGIN: logOrigin,
    VAULT_MASTER_KEY_FILE: write("master-key", randomBytes(32).toString("hex")),
  };
  const env = {
    ...(await common("governance")),
    ...(await database()),
    POST_MODERATOR_ADDRESS: postModerator.GRPC_ADDRESS,
    AUDIT_ADDRESS: audit.INTERNAL_GRPC_ADDRESS,
    MODEL_STORE_DIR: storeDir,
    POLICY_BUNDLE_DIR: bundleDir,
  };
  const start = async (overrides: Overrides = {}) => {
    const stop = new AbortController();
    return await startService(await fromConfig(readConfig(env), stop.signal, { log, ...overrides }), stop.signal);
  };
  const neighbours = [neighbour("post-moderator", postModerator), neighbour("audit", audit)] as const;
  const [address, tls] = [parseAddress(env.GRPC_ADDRESS), { ca: postgres.ca.pki.ca }];
  const models = createClient(ModelService, { address, tls, serverName: "governance" });
  const reviews = createClient(ReviewService, { address, tls, serverName: "governance" });
  const switches = createClient(SwitchService, { address, tls, serverName: "governance" });
  const credentials = createClient(CredentialService, { address, tls, serverName: "governance" });
  const operatorTls = await postgres.ca.tls("operator");
  const [cert, key, caPem] = [operatorTls.cert, operatorTls.key, operatorTls.ca].map(String);
  const ready = async () =>
    (await fetch(`http://${env.HEALTH_ADDRESS}/readyz`)).json() as Promise<{
      ready: boolean;
      checks: Record<string, string>;
    }>;
  return {
    ...{ env, postgres, nats, keys, storeDir, bundleDir, start, models, reviews, switches, credentials, ready, log },
    /** The operator's own way to the bus. */
    operatorBus: () =>
      connectOperatorBus({
        ...{ url: nats.url, nkeySeed: nats.seed("operator"), timeoutMs: 2_000 },
        tls: { cert: cert!, key: key!, ca: caPem! },
      }),
    auditAddress: audit.GRPC_ADDRESS,
    postModerator: neighbours[0],
    audit: neighbours[1],
    token: issuer.token,
    /** What is known of a person besides the tenant. */
    identity: (subject: string) => ({ issuer: issuer.url, subject }),
    /** What a token is called in records. */
    credentialOf: (token: string) => String(JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()).jti),
    /** Starts the neighbours; governance must run, as they wait for its policy. */
    startNeighbours: () => Promise.all(neighbours.map((process) => process.start())),
    isReady: () => waitFor("governance to be ready", async () => (await ready()).ready),
    async close() {
      models.close();
      switches.close();
      credentials.close();
      reviews.close();
      for (const process of neighbours) await process[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
      await issuer[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true });
    },
  };
}

export type Platform = Awaited<ReturnType<typeof testPlatform>>;

function neighbour(service: ServiceName, env: Readonly<Record<string, string>>): ServerProcess {
  const main = new URL(`../../${service}/src/main.ts`, import.meta.url).pathname;
  const ready = async () => (await fetch(`http://${env.HEALTH_ADDRESS}/readyz`)).ok;
  return new ServerProcess({ command: process.execPath, args: [main], env, ready });
}

function pem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
