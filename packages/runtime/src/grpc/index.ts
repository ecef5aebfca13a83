export { untilAborted } from "./call.ts";
export { type ClientOptions, createClient } from "./client.ts";
export { serviceOfCertificate, spiffeId, trustDomain } from "./peer.ts";
export { type GrpcServer, type ServeOptions, serve } from "./server.ts";
export { decodeStatus, encodeStatus, errorDomain } from "./status.ts";
export type { CallContext, CallOptions, Client, Handler, Handlers } from "./types.ts";
