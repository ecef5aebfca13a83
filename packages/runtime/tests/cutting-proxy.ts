import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy to Postgres that can lose the answer to a COMMIT: the server has done it, the client never hears. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  readonly cuts: number;
  /** Cuts the next connection whose client side sends something of a COMMIT's size while the server's answer is held back. */
  cutAfterCommit(): void;
}

/**
 * The traffic is TLS, so the proxy cannot read it. Each message is one TLS record of a known size, though: `COMMIT` as a simple
 * query is 12 bytes (Q, length, text, NUL), plus 17 bytes that TLS 1.3 adds (1 type, 16 tag). What was sent just before it may be
 * in the same packet: the records' headers tell where each begins.
 */
const commitRecordBytes = 12 + 17;
const headerBytes = 5;

/** Told each piece of a TLS stream, says whether a record of a COMMIT's size began in it. */
function commitSpotter(): (piece: Buffer) => boolean {
  let unread = Buffer.alloc(0);
  return (piece) => {
    unread = Buffer.concat([unread, piece]);
    let spotted = false;
    while (unread.length >= headerBytes && unread.length >= headerBytes + unread.readUInt16BE(3)) {
      const length = unread.readUInt16BE(3);
      spotted ||= length === commitRecordBytes;
      unread = unread.subarray(headerBytes + length);
    }
    return spotted;
  };
}

export async function cuttingProxy(targetPort: number): Promise<CuttingProxy> {
  let armed = false;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(targetPort, "127.0.0.1");
    let deaf = false;
    let isCommit: ReturnType<typeof commitSpotter> | undefined;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
    }
    client.on("data", (chunk) => {
      // Before TLS, the client asks for it: that is no record.
      const spotted = isCommit?.(chunk) ?? false;
      isCommit ??= commitSpotter();
      if (armed && spotted) {
        armed = false;
        deaf = true;
        cuts += 1;
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      // The answer says that the COMMIT is done; it goes nowhere.
      if (deaf) client.destroy();
      else client.write(chunk);
    });
    // A server that is doing the COMMIT is left to it.
    client.on("close", () => !deaf && upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    get cuts() {
      return cuts;
    },
    cutAfterCommit: () => {
      armed = true;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
