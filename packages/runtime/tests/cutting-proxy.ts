import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy to Postgres that can lose an answer: the server does what it was told, and the client never hears. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  /** Ends what clients are connected by now, on their side alone: a server that is doing something is left to it. */
  cut(): void;
}

export async function cuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const clients = new Map<Socket, Socket>();
  const server = createServer((client) => {
    const upstream = connect(targetPort, "127.0.0.1");
    clients.set(client, upstream);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    client.pipe(upstream, { end: false });
    upstream.pipe(client, { end: false });
    client.on("close", () => clients.has(client) && upstream.destroy());
    upstream.on("close", () => {
      clients.delete(client);
      client.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const left = new Set<Socket>();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    cut() {
      for (const [client, upstream] of clients) {
        clients.delete(client);
        left.add(upstream.unpipe(client).resume());
        client.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [...clients.keys(), ...clients.values(), ...left]) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
