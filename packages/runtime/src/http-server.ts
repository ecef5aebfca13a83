/** What HTTP servers have in common below their routes: when it is TLS, and how they listen and stop. */
import { createServer, type Server, type ServerOptions } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Address } from "./env.ts";
import { isLoopback } from "./jwks.ts";
import type { TlsMaterial } from "./tls.ts";

const handshakeTimeoutMs = 10_000;

export interface HttpTls {
  /** HTTPS on a loopback address too. */
  readonly always?: boolean;
  /** Callers may show a certificate of this CA; without it none is asked for. */
  readonly clientCa?: Pick<TlsMaterial, "ca" | "onChange"> | undefined;
}

/** Plain HTTP never leaves the machine. A certificate that was replaced is shown to the next connection. */
export function createHttpServer(
  tls: TlsMaterial,
  { host }: Address,
  options: ServerOptions,
  { always = false, clientCa }: HttpTls = {},
): Server {
  if (!always && isLoopback(host)) return createServer(options);
  const ca = () => clientCa && { ca: clientCa.ca };
  const material = () => ({ cert: tls.cert, key: tls.key, minVersion: "TLSv1.3", ...ca() }) as const;
  // A caller's certificate that does not verify counts as none: the bearer may still say who calls.
  const asked = clientCa && { requestCert: true, rejectUnauthorized: false };
  const server = createSecureServer({ ...options, ...material(), ...asked, handshakeTimeout: handshakeTimeoutMs });
  const renew = () => server.setSecureContext(material());
  const stops = [tls.onChange?.(renew), clientCa?.onChange?.(renew)];
  server.on("close", () => {
    for (const stop of stops) stop?.();
  });
  return server as unknown as Server;
}

/** Rejects with the socket's error (EADDRINUSE, …) when it cannot listen. Disposing ends what is open. */
export async function listenHttp(
  server: Server,
  { host, port }: Address,
): Promise<AsyncDisposable & { readonly address: Address }> {
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return {
    address: { host, port: (server.address() as AddressInfo).port },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
