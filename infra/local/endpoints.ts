import { services } from "@sallyport/proto/subjects";
import { writeWhole } from "./files.ts";
import type { Home } from "./home.ts";
import type { Ports } from "./ports.ts";
import { issuerUrl } from "./services.ts";
import { LOG_ORIGIN, trustFiles } from "./trust.ts";

const HOST = "127.0.0.1";

/** Every address of a running platform, and the public files that a client needs; written to `endpoints.json`. */
export interface Endpoints {
  /** Base URL of the OpenAI-compatible API, as its SDK wants it: ends in /v1. */
  readonly gatewayHttp: string;
  /** host:port, TLS with a bearer token, as for governance and audit. */
  readonly gatewayGrpc: string;
  readonly governanceGrpc: string;
  readonly auditGrpc: string;
  /** tlog-tiles. */
  readonly auditHttp: string;
  readonly issuer: string;
  readonly nats: string;
  readonly postgres: string;
  readonly preModeratorGrpc: string;
  readonly postModeratorGrpc: string;
  readonly watermarkerGrpc: string;
  readonly auditInternalGrpc: string;
  readonly health: Readonly<Record<string, string>>;
  readonly logOrigin: string;
  readonly ca: string;
  readonly trustBundle: string;
  readonly trustRoot: string;
  readonly credentialsDir: string;
}

export function endpointsOf(home: Home, ports: Ports): Endpoints {
  const at = (port: number) => `${HOST}:${port}`;
  const trust = trustFiles(home);
  return {
    gatewayHttp: `http://${at(ports.gatewayHttp)}/v1`,
    gatewayGrpc: at(ports.gatewayGrpc),
    governanceGrpc: at(ports.governanceGrpc),
    auditGrpc: at(ports.auditGrpc),
    auditHttp: `http://${at(ports.auditHttp)}`,
    issuer: issuerUrl(ports),
    nats: `tls://${at(ports.nats)}`,
    postgres: `postgres://${at(ports.postgres)}/sallyport`,
    preModeratorGrpc: at(ports.preModeratorGrpc),
    postModeratorGrpc: at(ports.postModeratorGrpc),
    watermarkerGrpc: at(ports.watermarkerGrpc),
    auditInternalGrpc: at(ports.auditInternalGrpc),
    health: Object.fromEntries(services.map((service) => [service, `http://${at(ports.health[service])}`])),
    logOrigin: LOG_ORIGIN,
    ca: `${home.pkiDir}/ca.crt`,
    trustBundle: trust.bundle,
    trustRoot: trust.root,
    credentialsDir: home.credentialsDir,
  };
}

export function writeEndpoints(home: Home, endpoints: Endpoints): void {
  writeWhole(home.endpointsFile, `${JSON.stringify(endpoints, null, 2)}\n`, 0o644);
}
