/** Every connection of the platform led through a proxy of its own, so that each can be bad by itself. */

import { services } from "@sallyport/proto/subjects";
import type { Ports } from "../../../infra/local/ports.ts";
import { DATABASE, databaseServices } from "../../../infra/local/postgres/cluster.ts";
import type { BootOptions } from "../../kit/index.ts";
import { startProxy, type TcpProxy } from "../../kit/index.ts";

export interface Links extends AsyncDisposable {
  readonly names: readonly string[];
  /** "from>to". Throws on an unknown name. */
  link(name: string): TcpProxy;
  readonly extraEnv: NonNullable<BootOptions["extraEnv"]>;
  /** For the callers, in place of the gateway's own. */
  readonly gateway: { http: number; grpc: number };
}

/** Calls between services: whom the variable names. */
const neighbours = [
  ["gateway", "pre-moderator", "PRE_MODERATOR_ADDRESS", "preModeratorGrpc"],
  ["gateway", "audit", "AUDIT_ADDRESS", "auditInternalGrpc"],
  ["governance", "post-moderator", "POST_MODERATOR_ADDRESS", "postModeratorGrpc"],
  ["governance", "audit", "AUDIT_ADDRESS", "auditInternalGrpc"],
] as const;

export async function startLinks(ports: Ports): Promise<Links> {
  await using stack = new AsyncDisposableStack();
  const links = new Map<string, TcpProxy>();
  const extraEnv: Record<string, Record<string, string>> = {};
  const lead = async (name: string, port: number) => {
    const proxy = stack.use(await startProxy(port));
    links.set(name, proxy);
    return proxy.port;
  };
  for (const service of services) {
    extraEnv[service] = { NATS_URL: `tls://127.0.0.1:${await lead(`${service}>nats`, ports.nats)}` };
  }
  for (const service of databaseServices) {
    const port = await lead(`${service}>postgres`, ports.postgres);
    extraEnv[service]!.DATABASE_URL = `postgres://${service}@127.0.0.1:${port}/${DATABASE}`;
  }
  for (const [from, to, variable, target] of neighbours) {
    extraEnv[from]![variable] = `127.0.0.1:${await lead(`${from}>${to}`, ports[target])}`;
  }
  const gateway = {
    http: await lead("callers>gateway-http", ports.gatewayHttp),
    grpc: await lead("callers>gateway-grpc", ports.gatewayGrpc),
  };
  const running = stack.move();
  return {
    names: [...links.keys()],
    link(name) {
      const found = links.get(name);
      if (!found) throw new RangeError(`there is no link ${name}`);
      return found;
    },
    extraEnv,
    gateway,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
