/** Environment → one frozen configuration; the only reader of process.env. */
import { callerConfig, databaseConfig, readEnv, serviceConfig, tracingConfig } from "@sallyport/runtime";

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    ...tracingConfig(env),
    /** AuditService: TLS, callers with tokens. */
    grpcAddress: env.address("GRPC_ADDRESS"),
    /** ReceiptService and VaultService: mTLS. */
    internalGrpcAddress: env.address("INTERNAL_GRPC_ADDRESS"),
    /** tlog-tiles: plain HTTP on a loopback address, HTTPS on any other. */
    httpAddress: env.address("HTTP_ADDRESS"),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
    ...databaseConfig(env),
    ...callerConfig(env),
    logOrigin: env.string("LOG_ORIGIN", { pattern: /^[^\s+]{1,256}$/ }),
    vaultMasterKeyFile: env.file("VAULT_MASTER_KEY_FILE"),
  }));
}

export type Config = ReturnType<typeof readConfig>;
