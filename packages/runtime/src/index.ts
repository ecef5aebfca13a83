export * from "./clock.ts";
export * from "./env.ts";
export { formatAddress, parseAddress } from "./env-values.ts";
export * from "./errors.ts";
export * from "./health.ts";
export * from "./lifecycle.ts";
export * from "./logger.ts";
