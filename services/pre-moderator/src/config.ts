/** Environment → one frozen configuration; the only reader of process.env. */
import { readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

const hourMs = 3_600_000;
const defaultVerdictTtlMs = 24 * hourMs;

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    grpcAddress: env.address("GRPC_ADDRESS"),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
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
