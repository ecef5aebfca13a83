/** Environment → one frozen configuration; the only reader of process.env. */
import { readEnv } from "@sallyport/runtime";

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    logLevel: env.oneOf("LOG_LEVEL", ["debug", "info", "warn", "error"], { default: "info" }),
    healthAddress: env.address("HEALTH_ADDRESS"),
    grpcAddress: env.address("GRPC_ADDRESS"),
    tls: { certFile: env.file("TLS_CERT_FILE"), keyFile: env.file("TLS_KEY_FILE"), caFile: env.file("TLS_CA_FILE") },
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
    trustBundleFile: env.file("TRUST_BUNDLE_FILE"),
    trustRootFile: env.file("TRUST_ROOT_FILE"),
    natsUrl: env.url("NATS_URL", { schemes: ["tls", "nats"] }),
    natsNkeySeed: env.secretFile("NATS_NKEY_FILE"),
  }));
}

export type Config = ReturnType<typeof readConfig>;
