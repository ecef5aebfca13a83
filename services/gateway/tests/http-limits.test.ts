/** What Node and fastify would refuse in words of their own is refused in OpenAI's shape; nobody holds a connection for long. */
import { connect, type Socket } from "node:net";
import {
  createCallerVerifier,
  createLogger,
  createTokenVerifier,
  systemClock,
  type WatchedCredentials,
} from "@sallyport/runtime";
import { createTestPki } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Context } from "../src/context.ts";
import { httpLimits } from "../src/handlers/http/limits.ts";
import { createHttpListener } from "../src/handlers/http/listener.ts";
import { serveHttp } from "../src/handlers/http/server.ts";

const localhost = { host: "127.0.0.1", port: 0 };
const quick = {
  ...httpLimits,
  headersTimeoutMs: 400,
  requestTimeoutMs: 1_500,
  checkConnectionsEveryMs: 100,
  bodyGraceMs: 500,
  slowReaderMs: 400,
};
/** Nothing here comes as far as a ledger or a door: the caller is unknown, or the request is none. */
const tls = await (await createTestPki()).issue("gateway");
const context = {
  tls,
  config: { httpTls: false },
  callers: createCallerVerifier(createTokenVerifier([], systemClock), {} as WatchedCredentials, () => []),
  log: createLogger("gateway", "error"),
} as unknown as Context;

let http: Awaited<ReturnType<typeof serveHttp>>;
beforeAll(async () => {
  http = await serveHttp(context, localhost, quick);
});
afterAll(() => http[Symbol.asyncDispose]());

/** Everything that the server says until it hangs up. */
function speak(bytes: string | Buffer, then?: (socket: Socket) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = "";
    const socket = connect(http.address.port, http.address.host, () => {
      socket.write(bytes);
      then?.(socket);
    });
    socket.setTimeout(10_000, () => reject(new Error("neither an answer nor an end")));
    socket.on("data", (data) => {
      heard += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(heard));
  });
}

/** Status and code of the one answer in `heard`. */
function answerIn(heard: string) {
  const [head, body] = heard.split("\r\n\r\n") as [string, string];
  expect(heard.match(/HTTP\/1\.1 [2-5]\d\d/g)).toHaveLength(1);
  expect(head).toMatch(/content-type: application\/json/i);
  const { error } = JSON.parse(body) as { error: { type: string; code: string; message: string; param: null } };
  expect(error).toMatchObject({ message: expect.stringMatching(/.{10}/), param: null });
  return { status: Number(/ (\d{3}) /.exec(head)![1]), code: error.code };
}

const close = "connection: close\r\n";
const get = (headers: string, path = "/v1/models") => `GET ${path} HTTP/1.1\r\nhost: x\r\n${close}${headers}\r\n`;
const cases: [string, string, { status: number; code: string }][] = [
  ["a line that is no request", "HELLO\r\n\r\n", { status: 400, code: "request_malformed" }],
  ["a TLS greeting", "\x16\x03\x01\x02\x00\x01", { status: 400, code: "request_malformed" }],
  ["another protocol's version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { status: 400, code: "request_malformed" }],
  ["a bare line feed in a header", get("x-a: b\nx-c: d\r\n"), { status: 400, code: "request_malformed" }],
  ["a NUL in a header", get("x-a: b\0c\r\n"), { status: 400, code: "request_malformed" }],
  ["two lengths", get("content-length: 1\r\ncontent-length: 2\r\n"), { status: 400, code: "request_malformed" }],
  [
    "a length and chunks",
    get("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
    { status: 400, code: "request_malformed" },
  ],
  ["chunks that are not last", get("transfer-encoding: chunked, gzip\r\n"), { status: 400, code: "request_malformed" }],
  ["a header of 20 KB", get(`x-a: ${"a".repeat(20_000)}\r\n`), { status: 431, code: "headers_too_large" }],
  ["a URL of 20 KB", get("", `/${"a".repeat(20_000)}`), { status: 431, code: "headers_too_large" }],
  ["a URL of 3 KB", get("", `/${"a".repeat(3_000)}`), { status: 414, code: "url_too_long" }],
  ["a long part of a path", get("", `/v1/models/${"a".repeat(300)}`), { status: 414, code: "url_too_long" }],
  ["a path that cannot be decoded", get("", "/v1/models/%zz"), { status: 400, code: "url_malformed" }],
  ["100 headers", get("x-a: b\r\n".repeat(100)), { status: 431, code: "headers_too_large" }],
  ["no host", `GET /v1/models HTTP/1.1\r\n${close}\r\n`, { status: 400, code: "host_missing" }],
  ["two hosts", get("host: y\r\n"), { status: 400, code: "header_repeated" }],
  [
    "two tokens",
    get("authorization: Bearer a\r\nauthorization: Bearer b\r\n"),
    { status: 400, code: "header_repeated" },
  ],
  ["CONNECT", "CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", { status: 405, code: "method_not_allowed" }],
  ["an expectation", get("expect: coffee\r\n"), { status: 417, code: "expectation_failed" }],
  [
    "an upgrade, which is passed over",
    get("connection: upgrade\r\nupgrade: websocket\r\n"),
    { status: 401, code: "token_missing" },
  ],
  ["rubbish behind a request", `${get("")}rubbish`, { status: 400, code: "request_malformed" }],
  ["no token", get(""), { status: 401, code: "token_missing" }],
  ["another scheme than bearer", get("authorization: Basic abc\r\n"), { status: 401, code: "token_malformed" }],
];

describe("what is refused before there is a route is told in the same shape", () => {
  test.each(cases)("%s", async (_, bytes, expected) => {
    expect(answerIn(await speak(bytes))).toEqual(expected);
  });
});

test("without a token the body is not waited for", async () => {
  const head =
    "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n";
  const heard = await speak(`${head}${close}\r\n{`);
  expect(answerIn(heard)).toEqual({ status: 401, code: "token_missing" });
});

test("who does not finish a head is told so, and let go", async () => {
  const startedAt = performance.now();
  const heard = await Promise.all([
    speak("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a"),
    speak("G", (socket) => void setTimeout(() => socket.write("E"), 200)),
  ]);
  for (const answer of heard) expect(answerIn(answer)).toEqual({ status: 408, code: "request_timeout" });
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test("a request in the midst of whose answer rubbish comes ends with its connection, not with a second answer", async () => {
  const { server, onClientError } = createHttpListener(tls, localhost, quick);
  server.on("clientError", onClientError);
  server.on("request", (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = (server.address() as { port: number }).port;
  const heard = await new Promise<string>((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    socket.on("data", (data) => {
      text += data;
      socket.write("rubbish\r\n\r\n");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
  server.close();
  expect(heard).toContain("data: 1");
  expect(heard.match(/HTTP\/1\.1/g)).toHaveLength(1);
});

test("who takes nothing of an answer is let go, and a silent answer is not taken for that", async () => {
  const { server } = createHttpListener(tls, localhost, quick);
  let dropped = false;
  server.on("request", (request, response) => {
    response.on("close", () => {
      dropped ||= !response.writableFinished;
    });
    if (request.url === "/silent") setTimeout(() => response.end("late"), 3 * quick.slowReaderMs);
    else response.end(Buffer.alloc(64 * 1024 * 1024));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = (server.address() as { port: number }).port;
  const silent = fetch(`http://127.0.0.1:${port}/silent`).then((response) => response.text());
  const socket = connect(port, "127.0.0.1", () => socket.write("GET /big HTTP/1.1\r\nhost: x\r\n\r\n"));
  socket.pause();
  socket.on("error", () => {});
  await expect.poll(() => dropped, { timeout: 5_000 }).toBe(true);
  expect(await silent).toBe("late");
  socket.destroy();
  server.close();
});
