export * from "./certificates.ts";
export * from "./nats.ts";
export * from "./pki.ts";
export * from "./postgres.ts";
export * from "./server-process.ts";
export * from "./shared-postgres.ts";
export * from "./trust.ts";
export * from "./wait-for.ts";
