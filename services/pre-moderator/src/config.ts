/** Environment → one frozen configuration; the only reader of process.env. */
import { readEnv } from "@sallyport/runtime";

const hourMs = 3_600_000;
const defaultVerdictTtlMs = 24 * hourMs;

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
    /** Of one request, or of all the texts of one question. Judging is linear: 128 KiB take tens of milliseconds. */
    maxContentBytes: env.int("MAX_CONTENT_BYTES", { default: 128 * 1_024, min: 1_024, max: 1_024 * 1_024 }),
    /** How long a verdict admits its request. */
    verdictTtlMs: env.duration("VERDICT_TTL", {
      default: defaultVerdictTtlMs,
      minMs: 60_000,
      maxMs: 30 * 24 * hourMs,
    }),
  }));
}

export type Config = ReturnType<typeof readConfig>;
