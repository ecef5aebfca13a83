import { join } from "node:path";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { clientCertificateFiles } from "./client-certificates.ts";
import { API_RESOURCE } from "./dev-issuer/clients.ts";
import { answersOk } from "./dev-issuer/process.ts";
import { secretFile } from "./files.ts";
import { type Home, REPOSITORY } from "./home.ts";
import { seedFile } from "./nats/config.ts";
import { certificateFiles } from "./pki.ts";
import type { Ports } from "./ports.ts";
import { DATABASE, databaseServices, passwordFile } from "./postgres/cluster.ts";
import type { ProcessSpec } from "./process/supervised.ts";
import { encryptionKeyFile, LOG_ORIGIN, signingKeyFile, trustFiles } from "./trust.ts";

const HOST = "127.0.0.1";
const STOP_TIMEOUT_MS = 12_000;
const READY_TIMEOUT_MS = 60_000;
/** Name of the one gateway of a local platform. */
export const GATEWAY_ID = "gw-0";

export interface ServiceSettings {
  readonly logLevel: string;
  readonly policyBundleDir: string;
  /** Model servers inside the chamber: name → base URL. */
  readonly remoteEndpoints: Readonly<Record<string, string>>;
  /** Added to a service's environment, for tests: other timeouts, for instance. */
  readonly extraEnv: Partial<Readonly<Record<ServiceName, Readonly<Record<string, string>>>>>;
}

export const DEFAULT_POLICY_BUNDLE = join(REPOSITORY, "packages", "policy", "bundles", "default");

/** A service as a child process. It counts as up once it lives; readiness, which needs the neighbours, is asked later. */
export function serviceProcess(service: ServiceName, home: Home, ports: Ports, settings: ServiceSettings): ProcessSpec {
  const main = join(REPOSITORY, "services", service, "src", "main.ts");
  return {
    name: service,
    command: process.execPath,
    args: ["--disable-warning=ExperimentalWarning", main],
    env: { ...serviceEnv(service, home, ports, settings), ...settings.extraEnv[service] },
    cwd: join(REPOSITORY, "services", service),
    ipc: true,
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    readyTimeoutMs: READY_TIMEOUT_MS,
    ready: () => answersOk(`http://${HOST}:${ports.health[service]}/livez`),
  };
}

const signs: readonly ServiceName[] = services.filter((service) => service !== "gateway");
const unwraps: readonly ServiceName[] = services.filter(
  (service) => service !== "pre-moderator" && service !== "governance",
);

/** The environment of docs/design/contracts.md: each service gets what it reads, no more. */
export function serviceEnv(
  service: ServiceName,
  home: Home,
  ports: Ports,
  settings: ServiceSettings,
): Record<string, string> {
  const { cert, key, ca } = certificateFiles(home, service);
  const trust = trustFiles(home);
  return {
    PATH: process.env.PATH ?? "",
    NODE_ENV: "production",
    TZ: "UTC",
    NODE_COMPILE_CACHE: home.compileCacheDir,
    LOG_LEVEL: settings.logLevel,
    HEALTH_ADDRESS: `${HOST}:${ports.health[service]}`,
    TLS_CERT_FILE: cert,
    TLS_KEY_FILE: key,
    TLS_CA_FILE: ca,
    TRUST_BUNDLE_FILE: trust.bundle,
    TRUST_ROOT_FILE: trust.root,
    NATS_URL: `tls://${HOST}:${ports.nats}`,
    NATS_NKEY_FILE: seedFile(home, service),
    ...(signs.includes(service) ? { SIGNING_KEY_FILE: signingKeyFile(home, service) } : {}),
    ...(unwraps.includes(service) ? { ENCRYPTION_KEY_FILE: encryptionKeyFile(home, service) } : {}),
    ...(databaseServices.includes(service) ? databaseEnv(service, home, ports) : {}),
    ...ownEnv(service, home, ports, settings),
  };
}

function databaseEnv(service: ServiceName, home: Home, ports: Ports): Record<string, string> {
  return {
    DATABASE_URL: `postgres://${service}@${HOST}:${ports.postgres}/${DATABASE}`,
    DATABASE_PASSWORD_FILE: passwordFile(home, service),
  };
}

function ownEnv(service: ServiceName, home: Home, ports: Ports, settings: ServiceSettings): Record<string, string> {
  const at = (port: number) => `${HOST}:${port}`;
  const issuer = issuerUrl(ports);
  const OIDC_ISSUERS = JSON.stringify([{ issuer, audience: API_RESOURCE, jwksUri: `${issuer}/jwks` }]);
  switch (service) {
    case "gateway":
      return {
        GATEWAY_ID,
        GRPC_ADDRESS: at(ports.gatewayGrpc),
        HTTP_ADDRESS: at(ports.gatewayHttp),
        PRE_MODERATOR_ADDRESS: at(ports.preModeratorGrpc),
        AUDIT_ADDRESS: at(ports.auditInternalGrpc),
        TLS_CLIENT_CA_FILE: clientCertificateFiles(home).ca,
        OIDC_ISSUERS,
      };
    case "governance":
      return {
        GRPC_ADDRESS: at(ports.governanceGrpc),
        POST_MODERATOR_ADDRESS: at(ports.postModeratorGrpc),
        AUDIT_ADDRESS: at(ports.auditInternalGrpc),
        MODEL_STORE_DIR: home.modelsDir,
        POLICY_BUNDLE_DIR: settings.policyBundleDir,
        OIDC_ISSUERS,
      };
    case "audit":
      return {
        GRPC_ADDRESS: at(ports.auditGrpc),
        INTERNAL_GRPC_ADDRESS: at(ports.auditInternalGrpc),
        HTTP_ADDRESS: at(ports.auditHttp),
        LOG_ORIGIN,
        VAULT_MASTER_KEY_FILE: vaultMasterKeyFile(home),
        OIDC_ISSUERS,
      };
    case "inference-worker":
      return { MODEL_STORE_DIR: home.modelsDir, REMOTE_ENDPOINTS: JSON.stringify(settings.remoteEndpoints) };
    case "pre-moderator":
      return { GRPC_ADDRESS: at(ports.preModeratorGrpc) };
    case "post-moderator":
      return { GRPC_ADDRESS: at(ports.postModeratorGrpc) };
    case "watermarker":
      return { GRPC_ADDRESS: at(ports.watermarkerGrpc) };
  }
}

export function issuerUrl(ports: Ports): string {
  return `http://${HOST}:${ports.issuer}`;
}

export function vaultMasterKeyFile(home: Home): string {
  const file = join(home.secretsDir, "vault-master-key");
  secretFile(file);
  return file;
}
