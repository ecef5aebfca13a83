/** Environment → one frozen configuration; the only reader of process.env. */
import { parseIssuers, readEnv } from "@sallyport/runtime";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    logLevel: env.oneOf("LOG_LEVEL", ["debug", "info", "warn", "error"], { default: "info" }),
    healthAddress: env.address("HEALTH_ADDRESS"),
    grpcAddress: env.address("GRPC_ADDRESS"),
    tls: { certFile: env.file("TLS_CERT_FILE"), keyFile: env.file("TLS_KEY_FILE"), caFile: env.file("TLS_CA_FILE") },
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    trustBundleFile: env.file("TRUST_BUNDLE_FILE"),
    trustRootFile: env.file("TRUST_ROOT_FILE"),
    natsUrl: env.url("NATS_URL", { schemes: ["tls", "nats"] }),
    natsNkeySeed: env.secretFile("NATS_NKEY_FILE"),
    databaseUrl: env.url("DATABASE_URL", { schemes: ["postgres", "postgresql"] }),
    databasePasswordFile: env.file("DATABASE_PASSWORD_FILE"),
    issuers: env.json("OIDC_ISSUERS", parseIssuers),
    postModeratorAddress: env.address("POST_MODERATOR_ADDRESS"),
    /** Its internal address: the vault. */
    auditAddress: env.address("AUDIT_ADDRESS"),
    modelStoreDir: env.directory("MODEL_STORE_DIR"),
    policyBundleDir: env.directory("POLICY_BUNDLE_DIR"),
    maxModelBytes: env.int("MAX_MODEL_BYTES", { default: 64 * gibibyte, min: mebibyte, max: 1024 * gibibyte }),
    leaseMs: env.duration("REVIEW_LEASE", { default: 10 * minuteMs, minMs: secondMs, maxMs: 30 * minuteMs }),
  }));
}

export type Config = ReturnType<typeof readConfig>;
