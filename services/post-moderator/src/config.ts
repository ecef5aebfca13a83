/** Environment → one frozen configuration; the only reader of process.env. */
import { readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

const secondMs = 1_000;
const defaultTicketTtlMs = 60 * secondMs;

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    grpcAddress: env.address("GRPC_ADDRESS"),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
    /** How long a release ticket is good for. */
    ticketTtlMs: env.duration("TICKET_TTL", { default: defaultTicketTtlMs, minMs: secondMs, maxMs: 600 * secondMs }),
    /** Requests whose windows are judged at the same time, for each partition. */
    concurrency: env.int("CONCURRENCY", { default: 32, min: 1, max: 1_000 }),
  }));
}

export type Config = ReturnType<typeof readConfig>;
