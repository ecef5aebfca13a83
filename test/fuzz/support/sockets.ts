/** Connections that bytes are written to as they are: plain TCP for HTTP, HTTP/2 streams for gRPC. */
import { type ClientHttp2Session, connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect, type Socket } from "node:net";
import { setImmediate as soon } from "node:timers/promises";

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface Speech {
  /** Written one after the other, each in a packet of its own where the system lets it. */
  readonly pieces: readonly Uint8Array[];
  /** Then: listen and end our side, break off, stay silent (the server has to hang up), or something of one's own. */
  readonly ending: "end" | "reset" | "stay" | ((socket: Socket) => void);
}

/** All that the server says until the connection is over. Rejects when it is not over in `withinMs`. */
export function speak({ host, port }: Place, { pieces, ending }: Speech, withinMs = 15_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const heard: Buffer[] = [];
    const socket = connect(port, host);
    const late = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`the connection was still open after ${withinMs} ms; heard ${Buffer.concat(heard).subarray(0, 300)}`),
      );
    }, withinMs);
    socket.on("data", (data) => heard.push(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(late);
      resolve(Buffer.concat(heard).toString("latin1"));
    });
    void write(socket, pieces).then(() => {
      if (ending === "end") endAfterAnswer(socket);
      if (ending === "reset") socket.resetAndDestroy();
      if (typeof ending === "function") ending(socket);
    });
  });
}

/** Once the server has said what it has to say: what ends our side at once would hardly be answered. */
function endAfterAnswer(socket: Socket): void {
  let timer = setTimeout(() => socket.end(), silenceMs);
  socket.on("data", () => {
    clearTimeout(timer);
    timer = setTimeout(() => socket.end(), pauseMs);
  });
  socket.on("close", () => clearTimeout(timer));
}
const silenceMs = 400;
const pauseMs = 60;

async function write(socket: Socket, pieces: readonly Uint8Array[]): Promise<void> {
  socket.setNoDelay(true);
  for (const piece of pieces) {
    if (socket.destroyed) return;
    socket.write(piece);
    await soon();
  }
}

export interface Frames {
  readonly headers: OutgoingHttpHeaders;
  readonly pieces: readonly Uint8Array[];
  readonly ending: "end" | "reset" | "stay";
}

export interface GrpcEnd {
  /** grpc-status, or undefined where the stream was reset or HTTP said no. */
  readonly status: number | undefined;
  readonly http: number | undefined;
  readonly message: string;
  readonly details: string | undefined;
}

export class RawGrpc implements Disposable {
  #session: ClientHttp2Session | undefined;
  readonly #open: () => ClientHttp2Session;

  constructor(address: string, ca: Uint8Array) {
    this.#open = () => {
      const session = connectHttp2(`https://${address}`, { ca: Buffer.from(ca), servername: "localhost" });
      session.on("error", () => {});
      return session;
    };
  }

  /** One call; on the connection of the last one while that is open. */
  call({ headers, pieces, ending }: Frames, withinMs = 15_000): Promise<GrpcEnd> {
    if (!this.#session || this.#session.closed || this.#session.destroyed) this.#session = this.#open();
    const session = this.#session;
    return new Promise((resolve, reject) => {
      const said: Record<string, unknown> = {};
      const stream = session.request({ ":method": "POST", "content-type": "application/grpc", ...headers });
      const late = setTimeout(() => {
        stream.close();
        reject(new Error(`the call was not over after ${withinMs} ms`));
      }, withinMs);
      for (const event of ["response", "trailers"]) stream.on(event, (given: object) => Object.assign(said, given));
      stream.on("error", () => {});
      stream.resume();
      stream.on("close", () => {
        clearTimeout(late);
        const status = said["grpc-status"] === undefined ? undefined : Number(said["grpc-status"]);
        const details = said["grpc-status-details-bin"] as string | undefined;
        resolve({ status, http: said[":status"] as number, message: String(said["grpc-message"] ?? ""), details });
      });
      for (const piece of pieces) stream.write(piece);
      if (ending === "end") stream.end();
      if (ending === "reset") stream.close(8);
    });
  }

  [Symbol.dispose](): void {
    this.#session?.destroy();
  }
}

/** A gRPC message in its frame: flag, length, bytes. */
export function framed(bytes: Uint8Array, flag = 0, length = bytes.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}
