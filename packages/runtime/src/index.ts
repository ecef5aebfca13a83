export * from "./api-token.ts";
export * from "./bus/index.ts";
export { joinBus } from "./bus/join.ts";
export * from "./clock.ts";
export {
  type Believed,
  type CredentialRef,
  certificateIssuer,
  type WatchedCredentials,
  watchCredentials,
} from "./credentials.ts";
export * from "./db/index.ts";
export * from "./env.ts";
export { formatAddress, parseAddress } from "./env-values.ts";
export * from "./errors.ts";
export * from "./grpc/index.ts";
export * from "./health.ts";
export * from "./http-server.ts";
export * from "./identity.ts";
export * from "./identity-caller.ts";
export * from "./identity-certificate.ts";
export { parseIssuers } from "./jwks.ts";
export * from "./keys.ts";
export * from "./lifecycle.ts";
export * from "./logger.ts";
export { type Periodic, periodically } from "./periodic.ts";
export { type Reloaded, reloadFiles } from "./reload.ts";
export * from "./service-config.ts";
export * from "./state.ts";
export * from "./switch-index.ts";
export { switchTargetMessage } from "./switch-message.ts";
export { readSwitches, type SwitchSet, type WatchedSwitches, watchSwitches } from "./switches.ts";
export * from "./telemetry/index.ts";
export * from "./tls.ts";
export * from "./trace.ts";
