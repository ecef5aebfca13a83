/** Environment → one frozen configuration; the only reader of process.env. */
import { readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    grpcAddress: env.address("GRPC_ADDRESS"),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
  }));
}

export type Config = ReturnType<typeof readConfig>;
