/** How a client is set up, and what that means. Faults are told at once, before anything is sent. */
import { readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { SallyportError } from "./errors.ts";
import { grpcTransport } from "./transport/grpc.ts";
import { httpTransport } from "./transport/http.ts";
import type { Tls, Transport } from "./transport/transport.ts";
import { type TrustInput, type TrustSource, trustSource } from "./verify/trust.ts";

export type Token = string | (() => string | Promise<string>);

export interface ClientOptions {
  /**
   * `host:port` or `grpcs://host:port`: gRPC over TLS. `https://host:port/v1`: the OpenAI-compatible API; plain `http:` only
   * on a loopback address, because token and texts would be readable on the way.
   */
  address: string;
  /** Access or API token, or what gets one, asked before every call. Leave it out where a client certificate says who calls. */
  token?: Token;
  /**
   * Whom to believe: bundle and root, or a function that gives the loaded bundle. `"off"` verifies nothing: then the
   * connection is all that vouches for the output.
   */
  verify: TrustInput | TrustSource | "off";
  /**
   * PEM, or the path of a PEM file. Without `ca`, the system's authorities count. `cert` and `key` belong together. With
   * `serverId` the server must hold that URI in its certificate (`spiffe://sallyport.local/gateway`), whatever its host is.
   */
  tls?: { ca?: string | Buffer; cert?: string | Buffer; key?: string | Buffer; serverId?: string };
  /** Longest wait for a call, retries included. Default 120 s. */
  timeoutMs?: number;
  /** How often a call that may be repeated is sent again. Default 2, at most 10. */
  maxRetries?: number;
}

export interface Settings {
  transport: Transport;
  /** Undefined: off. */
  trust: TrustSource | undefined;
  token: Token | undefined;
  timeoutMs: number;
  maxRetries: number;
}

const defaultTimeoutMs = 120_000;
const defaultRetries = 2;
const mostRetries = 10;

/** Throws INVALID_ARGUMENT (OPTION_INVALID, naming the option) or FAILED_PRECONDITION (TRUST_INVALID). */
export function readOptions(options: ClientOptions): Settings {
  const { verify, token, timeoutMs = defaultTimeoutMs, maxRetries = defaultRetries } = options;
  if (!(timeoutMs > 0)) throw invalid("timeoutMs", "must be positive");
  if (!Number.isInteger(maxRetries) || maxRetries < 0 || maxRetries > mostRetries)
    throw invalid("maxRetries", `must be a whole number from 0 to ${mostRetries}`);
  const trust = trustOf(verify);
  return { transport: transportOf(options.address, tlsOf(options.tls)), trust, token, timeoutMs, maxRetries };
}

function trustOf(verify: ClientOptions["verify"]): TrustSource | undefined {
  if (verify === "off") return undefined;
  if (typeof verify === "function") return verify;
  if (!verify?.trustBundle || !verify.trustRoot)
    throw invalid("verify", 'give trustBundle and trustRoot, or "off" to verify nothing');
  return trustSource(verify);
}

function transportOf(address: string, tls: Tls): Transport {
  if (/^https?:\/\//.test(address)) return httpTransport(baseUrl(address), tls);
  const [, v6, name, port] = /^(?:grpcs:\/\/)?(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = v6 ?? name;
  if (host === undefined || Number(port) > 65_535 || (v6 !== undefined && !isIPv6(v6)))
    throw invalid("address", "must be host:port for gRPC, or an http(s) URL that ends in /v1");
  return grpcTransport(host, Number(port), tls);
}

function baseUrl(address: string): URL {
  const url = URL.parse(address);
  if (url?.username !== "" || url.search !== "") throw invalid("address", "is not a plain URL");
  if (url.protocol === "http:" && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname))
    throw invalid("address", "plain http is for loopback addresses only: use https");
  return url;
}

function tlsOf({ ca, cert, key, serverId }: NonNullable<ClientOptions["tls"]> = {}): Tls {
  if ((cert === undefined) !== (key === undefined)) throw invalid("tls", "cert and key belong together");
  return { ca: pem("ca", ca), cert: pem("cert", cert), key: pem("key", key), serverId };
}

function pem(name: string, value: string | Buffer | undefined): Buffer | undefined {
  if (value === undefined || Buffer.isBuffer(value)) return value;
  if (value.includes("-----BEGIN")) return Buffer.from(value);
  try {
    return readFileSync(value);
  } catch (cause) {
    throw invalid(`tls.${name}`, `cannot read ${value}: ${(cause as NodeJS.ErrnoException).code}`, cause);
  }
}

function invalid(field: string, problem: string, cause?: unknown): SallyportError {
  return new SallyportError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "OPTION_INVALID", field, cause });
}
