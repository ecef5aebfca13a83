/** Environment → one frozen configuration; the only reader of process.env. */
import { callerConfig, databaseConfig, readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    grpcAddress: env.address("GRPC_ADDRESS"),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    ...databaseConfig(env),
    ...callerConfig(env),
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
