/** The HTTP server below the routes: its bounds, and the same error shape for what Node refuses by itself. */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Address, AppError, createHttpServer, type HttpTls, type TlsMaterial } from "@sallyport/runtime";
import { toHttpError } from "./errors.ts";
import { type HttpLimits, httpLimits } from "./limits.ts";

export interface HttpListener {
  readonly server: Server;
  /** Answers what cannot be read as a request. */
  readonly onClientError: (error: NodeJS.ErrnoException, socket: Duplex) => void;
}

export function createHttpListener(
  tls: TlsMaterial,
  address: Address,
  limits: HttpLimits = httpLimits,
  clients: HttpTls = {},
): HttpListener {
  const options = {
    requestTimeout: limits.requestTimeoutMs,
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: limits.checkConnectionsEveryMs,
    maxHeaderSize: limits.headerBytes,
    keepAliveTimeout: limits.keepAliveMs,
    // Asked for where the answer has a body: see checkHead.
    requireHostHeader: false,
  };
  const server = createHttpServer(tls, address, options, clients);
  server.maxConnections = limits.connections;
  server.maxRequestsPerSocket = limits.requestsPerConnection;
  server.maxHeadersCount = limits.headerCount;
  letGoOfSlowReaders(server, limits);
  refuseInShape(server);
  return { server, onClientError: clientErrors(server, limits) };
}

/** Quiet while the model thinks is no fault; bytes that nobody takes are. */
function letGoOfSlowReaders(server: Server, { slowReaderMs }: HttpLimits): void {
  server.setTimeout(slowReaderMs, (socket: Socket) => {
    if (socket.writableLength > 0) socket.destroy();
    else socket.setTimeout(slowReaderMs);
  });
}

/** What Node would answer by itself, without a body or by hanging up. */
function refuseInShape(server: Server): void {
  server.on("connect", (_request: IncomingMessage, socket: Duplex) => {
    refuse(socket, fault("METHOD_NOT_ALLOWED", "CONNECT is not part of this API: it is no proxy"));
  });
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => {
    const { status, body } = toHttpError(fault("EXPECTATION_FAILED", "only `expect: 100-continue` can be met"));
    const text = JSON.stringify(body);
    const headers = { "content-type": jsonType, "content-length": Buffer.byteLength(text), connection: "close" };
    response.writeHead(status, headers).end(text);
  });
}

function clientErrors(server: Server, limits: HttpLimits): HttpListener["onClientError"] {
  const begun = answers(server);
  return (error, socket) => {
    // In the midst of an answer another one would be taken for a part of it.
    if (error.code === "ECONNRESET" || !socket.writable || begun(socket)) socket.destroy();
    else refuse(socket, unreadable(error, limits));
  };
}

/** Whether anything of an answer that is not over has gone out on a connection. */
function answers(server: Server): (socket: Duplex) => boolean {
  const open = new WeakMap<Duplex, Set<ServerResponse>>();
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const own = open.get(socket) ?? new Set();
    open.set(socket, own.add(response));
    response.on("close", () => own.delete(response));
  });
  return (socket) => [...(open.get(socket) ?? [])].some(({ headersSent }) => headersSent);
}

/** Faults of Node's HTTP parser (llhttp) and of its timers. */
function unreadable({ code }: NodeJS.ErrnoException, limits: HttpLimits): AppError {
  if (code === "HPE_HEADER_OVERFLOW")
    return fault("HEADERS_TOO_LARGE", `send at most ${limits.headerCount} headers and ${limits.headerBytes} bytes`);
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return fault("REQUEST_TIMEOUT", "the request came too slowly; send it again");
  return fault("REQUEST_MALFORMED", "this is not a well-formed HTTP request");
}

function fault(reason: string, message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason });
}

const jsonType = "application/json; charset=utf-8";

/** Writes an answer where there is no response object, and closes. */
function refuse(socket: Duplex, error: AppError): void {
  const { status, body } = toHttpError(error);
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${jsonType}`,
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ];
  socket.on("error", () => socket.destroy());
  socket.end(`${head.join("\r\n")}\r\n\r\n${text}`, () => socket.destroy());
}
