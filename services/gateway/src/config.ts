/** Environment → one frozen configuration; the only reader of process.env. */
import { callerConfig, databaseConfig, readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

const secondMs = 1_000;
const defaultRequestDeadlineMs = 120 * secondMs;
const defaultDoor1DeadlineMs = 3 * secondMs;
const defaultStallMs = 20 * secondMs;

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    grpcAddress: env.address("GRPC_ADDRESS"),
    httpAddress: env.address("HTTP_ADDRESS"),
    /** HTTPS also on a loopback address; on any other one it always is. */
    httpTls: env.oneOf("HTTP_TLS", ["on", "off"], { default: "off" }) === "on",
    /** CA of the callers' certificates; without it none is asked for. */
    tlsClientCaFile: env.has("TLS_CLIENT_CA_FILE") ? env.file("TLS_CLIENT_CA_FILE") : undefined,
    gatewayId: env.string("GATEWAY_ID", { default: "gw-0", pattern: /^[a-z0-9-]{1,32}$/ }),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
    ...databaseConfig(env),
    ...callerConfig(env),
    preModeratorAddress: env.address("PRE_MODERATOR_ADDRESS"),
    auditAddress: env.address("AUDIT_ADDRESS"),
    limits: {
      requestDeadlineMs: env.duration("REQUEST_DEADLINE", {
        default: defaultRequestDeadlineMs,
        minMs: secondMs,
        maxMs: 3_600 * secondMs,
      }),
      door1DeadlineMs: env.duration("DOOR1_DEADLINE", {
        default: defaultDoor1DeadlineMs,
        minMs: 100,
        maxMs: 60 * secondMs,
      }),
      /** A run that says nothing for this long is lost. */
      stallMs: env.duration("STALL_TIMEOUT", { default: defaultStallMs, minMs: secondMs, maxMs: 600 * secondMs }),
      /** A queued job that nobody started is sent again after this long (harmless while the bus still has it). */
      redispatchMs: env.duration("REDISPATCH_AFTER", {
        default: 10 * secondMs,
        minMs: secondMs,
        maxMs: 600 * secondMs,
      }),
      idempotencyMs: env.duration("IDEMPOTENCY_WINDOW", {
        default: 24 * 3_600 * secondMs,
        minMs: secondMs,
        maxMs: 7 * 24 * 3_600 * secondMs,
      }),
      /** The worker's variable of that name: what is reserved for an answer whose length nobody limited. */
      defaultMaxTokens: env.int("DEFAULT_MAX_TOKENS", { default: 512, min: 1, max: 1_000_000 }),
      maxAttempts: env.int("MAX_ATTEMPTS", { default: 3, min: 1, max: 10 }),
      /** Jobs of a model on the bus that nobody has begun, up to eight times as many while it is quick; the rest waits its turn. */
      jobsAhead: env.int("JOBS_AHEAD", { default: 4, min: 1, max: 100_000 }),
      /** Streams open at once; more are refused at once. */
      maxInFlight: env.int("MAX_IN_FLIGHT", { default: 128, min: 1, max: 100_000 }),
    },
  }));
}

export type Config = ReturnType<typeof readConfig>;
export type Limits = Config["limits"];
