import { createServer } from "node:net";
import { type ServiceName, services } from "@sallyport/proto/subjects";

export const DEFAULT_PORT_BASE = 7080;
const HEALTH_OFFSET = 30;

const OFFSETS = {
  gatewayHttp: 0,
  gatewayGrpc: 1,
  governanceGrpc: 2,
  auditGrpc: 3,
  auditHttp: 4,
  issuer: 5,
  nats: 10,
  postgres: 12,
  preModeratorGrpc: 20,
  postModeratorGrpc: 21,
  watermarkerGrpc: 22,
  auditInternalGrpc: 23,
} as const;

export type Ports = { readonly [K in keyof typeof OFFSETS]: number } & {
  readonly health: Readonly<Record<ServiceName, number>>;
};

/** The documented block of ports that starts at `base`. Throws RangeError when it does not fit. */
export function portsFrom(base: number): Ports {
  if (!Number.isInteger(base) || base < 1024 || base + HEALTH_OFFSET + services.length > 65_535) {
    throw new RangeError(`--port-base must be a whole number from 1024 to 65000, not ${base}`);
  }
  const named = Object.fromEntries(Object.entries(OFFSETS).map(([name, offset]) => [name, base + offset]));
  const health = Object.fromEntries(services.map((service, index) => [service, base + HEALTH_OFFSET + index]));
  return { ...named, health } as Ports;
}

export function portList(ports: Ports): { name: string; port: number }[] {
  const { health, ...named } = ports;
  const services = Object.entries(health).map(([service, port]) => ({ name: `${service} health`, port }));
  return [...Object.entries(named).map(([name, port]) => ({ name, port })), ...services];
}

/** Throws one Error that names every port of the block which something else listens on. */
export async function assertPortsFree(ports: Ports): Promise<void> {
  const list = portList(ports);
  const free = await Promise.all(list.map(({ port }) => isFree(port)));
  const taken = list.filter((_, index) => !free[index]).map(({ name, port }) => `${port} (${name})`);
  if (taken.length === 0) return;
  const what = taken.length === 1 ? `port ${taken[0]} is` : `ports ${taken.join(", ")} are`;
  throw new Error(`${what} taken by another program. Stop it, or move the whole block: npm start -- --port-base 17080`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
