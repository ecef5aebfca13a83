/** What a program needs that only calls services: none of bus, database or server is loaded. */
export { type Address, readEnv } from "./env.ts";
export { formatAddress, parseAddress } from "./env-values.ts";
export { AppError, asAppError, type ErrorCode } from "./errors.ts";
export { type ClientOptions, createClient } from "./grpc/client.ts";
export type { CallOptions, Client } from "./grpc/types.ts";
export { switchTargetMessage } from "./switch-message.ts";
export type { ClientTls } from "./tls.ts";
