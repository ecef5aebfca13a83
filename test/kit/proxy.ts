/** A TCP proxy on loopback that can be a bad network: cut, slow, or deaf in one direction. It cannot read what passes (TLS). */
import { connect, createServer, type Server, type Socket } from "node:net";

export type Direction = "up" | "down";

export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections that pass through it now. */
  readonly connections: number;
  /** Ends every connection at once, and refuses new ones until the result is called. */
  cut(): () => void;
  /** Delays each byte, both ways, until the result is called. */
  slow(delayMs: number): () => void;
  /**
   * Loses what goes up (to the server) or down, while the other direction works and both ends think that they are
   * connected. The result ends it: by cutting those connections, as their streams have holes now.
   */
  deafen(direction: Direction): () => void;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  holed: boolean;
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const state = { refusing: false, delayMs: 0, deaf: undefined as Direction | undefined };
  const server = createServer((client) => {
    if (state.refusing) return client.destroy();
    const pair: Pair = { client, server: connect(targetPort, "127.0.0.1"), holed: false };
    pairs.add(pair);
    client.setNoDelay(true);
    pair.server.setNoDelay(true);
    pass(pair, "up", state);
    pass(pair, "down", state);
    for (const socket of [pair.client, pair.server]) socket.on("error", () => {}).on("close", () => pairs.delete(pair));
  });
  const end = (which: (pair: Pair) => boolean) => {
    for (const { client, server } of [...pairs].filter(which)) for (const socket of [client, server]) socket.destroy();
  };
  return {
    port: await listen(server),
    get connections() {
      return pairs.size;
    },
    cut() {
      state.refusing = true;
      end(() => true);
      return () => {
        state.refusing = false;
      };
    },
    slow(delayMs) {
      state.delayMs = delayMs;
      return () => {
        state.delayMs = 0;
      };
    },
    deafen(direction) {
      state.deaf = direction;
      return () => {
        state.deaf = undefined;
        end(({ holed }) => holed);
      };
    },
    async [Symbol.asyncDispose]() {
      end(() => true);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One direction of one connection: in order, whatever delay each piece had when it came. */
function pass(pair: Pair, direction: Direction, state: { delayMs: number; deaf: Direction | undefined }): void {
  const [from, to] = direction === "up" ? [pair.client, pair.server] : [pair.server, pair.client];
  let dueAt = 0;
  const later = (act: () => void) => {
    const now = performance.now();
    dueAt = Math.max(dueAt, now + state.delayMs);
    if (dueAt <= now) act();
    else setTimeout(act, dueAt - now);
  };
  from.on("data", (chunk) => {
    if (state.deaf === direction || pair.holed) {
      pair.holed = true;
      return;
    }
    later(() => {
      if (!to.destroyed) to.write(chunk);
    });
  });
  from.on("close", () => later(() => to.destroy()));
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("the proxy has no port");
  return address.port;
}
