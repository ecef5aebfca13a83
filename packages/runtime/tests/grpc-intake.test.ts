/** What a caller that is no gRPC library may try: every refusal is typed and none is INTERNAL; no stream and no token stays. */
import { type ClientHttp2Stream, connect, constants, type OutgoingHttpHeaders } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { decodeStatus, type GrpcServer } from "../src/index.ts";
import { pki, startServer } from "./grpc-kit.ts";

const intake = { arrivalMs: 300, slowReaderMs: 300 };
let server: GrpcServer;
let produced = 0;
let producerEnded = false;
beforeAll(async () => {
  server = await startServer(
    {
      getRequest: async ({ requestId }) => ({ model: requestId }),
      chat: async function* ({ idempotencyKey }) {
        while (idempotencyKey === "busy")
          yield { event: { case: "window", value: { content: new Uint8Array(2_000) } } };
        if (idempotencyKey === "silent") await sleep(3 * intake.slowReaderMs);
        const content = new Uint8Array(idempotencyKey === "silent" ? 1 : 100_000);
        try {
          for (const count = idempotencyKey === "silent" ? 1 : 100; produced < count; produced += 1)
            yield { event: { case: "window", value: { index: produced, content } } };
        } finally {
          producerEnded = true;
        }
      },
    },
    { intake },
  );
});
afterAll(() => server[Symbol.asyncDispose]());

const service = "/sallyport.generation.v1.GenerationService/";
const good = Buffer.from("0a026f6b", "hex");

function frame(body: Buffer, flag = 0, length = body.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

interface Answer {
  code: number | undefined;
  reason?: string;
  message?: string;
  reset: number;
}

/** One call on a connection of its own, as its stream ends. */
async function call(
  bytes: Buffer,
  headers: OutgoingHttpHeaders = {},
  { half = true, listen = (stream: ClientHttp2Stream) => void stream.resume() } = {},
): Promise<Answer> {
  const session = connect(`https://127.0.0.1:${server.address.port}`, { ca: pki.ca, servername: "localhost" });
  session.on("error", () => {});
  // The server's bounds hold once we have acknowledged them.
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  await new Promise((resolve) => session.ping(resolve));
  const stream = session.request(
    { ":method": "POST", ":path": `${service}GetRequest`, "content-type": "application/grpc", ...headers },
    { endStream: false },
  );
  const heard: Record<string, string> = {};
  stream.on("response", (given) => Object.assign(heard, given));
  stream.on("trailers", (given) => Object.assign(heard, given));
  stream.on("error", () => {});
  listen(stream);
  stream.write(bytes);
  if (half) stream.end();
  await new Promise<void>((resolve) => stream.once("close", resolve));
  session.destroy();
  const code = heard["grpc-status"] === undefined ? undefined : Number(heard["grpc-status"]);
  if (code === undefined) return { code, reset: stream.rstCode! };
  const failure = Object.assign(new Error(), { code, details: "", metadata: Metadata.fromHttp2Headers(heard) });
  const { reason, message } = decodeStatus(failure as unknown as ServiceError);
  return { code, reason, message, reset: stream.rstCode! };
}

const { INVALID_ARGUMENT, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED } = status;
const flagged = Buffer.concat(Array<Buffer>(2_000).fill(frame(Buffer.alloc(0), 1)));

describe("what grpc-js itself refuses is the caller's fault, and says so", () => {
  test.each([
    ["no message", Buffer.alloc(0), {}, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["two messages", Buffer.concat([frame(good), frame(good)]), {}, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["a message that breaks off", frame(good, 0, 9), {}, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["a packed message", frame(gzipSync(good), 1), { "grpc-encoding": "gzip" }, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["rubbish said to be packed", frame(good, 1), { "grpc-encoding": "gzip" }, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["thousands of them", flagged, { "grpc-encoding": "deflate" }, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["a timeout that is none", frame(good), { "grpc-timeout": "soon" }, INVALID_ARGUMENT, "MESSAGE_MALFORMED"],
    ["a message of 4 GiB", frame(good, 0, 0xffff_ffff), {}, RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"],
  ])("%s", async (_, bytes, headers, code, reason) => {
    expect(await call(bytes, headers)).toMatchObject({ code, reason });
    expect(await call(frame(good))).toMatchObject({ code: status.OK });
  });
});

test("a request that never ends is answered in time, and its stream does not stay open", async () => {
  for (const bytes of [Buffer.alloc(0), frame(good), frame(good, 0, 9)]) {
    const answer = await call(bytes, {}, { half: false });
    expect(answer).toMatchObject({ code: DEADLINE_EXCEEDED, reason: "REQUEST_TIMEOUT" });
  }
});

test("who is refused before the end of its request keeps no stream", async () => {
  const answer = await call(Buffer.concat([frame(good), frame(good)]), {}, { half: false });
  expect(answer).toMatchObject({ code: INVALID_ARGUMENT, reset: constants.NGHTTP2_NO_ERROR });
});

test("who takes nothing of a stream is let go, and its producer ends", async () => {
  const answer = await call(frame(Buffer.alloc(0)), { ":path": `${service}Chat` }, { listen: () => {} });
  expect(answer.reset).toBe(constants.NGHTTP2_CANCEL);
  await expect.poll(() => producerEnded).toBe(true);
  expect(produced).toBeLessThan(100);
});

test("a stream on which nothing happens for long is not taken for that", async () => {
  produced = 0;
  const key = Buffer.from("silent");
  const request = Buffer.concat([Buffer.from([0x12, key.length]), key]);
  expect(await call(frame(request), { ":path": `${service}Chat` })).toMatchObject({ code: status.OK });
  expect(produced).toBe(1);
});

test("a stream that is busy at its deadline ends then, and does not stay open", async () => {
  const key = Buffer.from("busy");
  const request = frame(Buffer.concat([Buffer.from([0x12, key.length]), key]));
  const headers = { ":path": `${service}Chat`, "grpc-timeout": "200m" };
  const startedAt = performance.now();
  const answers = await Promise.all(Array.from({ length: 6 }, () => call(request, headers)));
  for (const { code } of answers) expect(code).toBe(DEADLINE_EXCEEDED);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test("metadata is bounded in number and size", async () => {
  const many = Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`x-${i}`, "a"]));
  expect(await call(frame(good), many)).toMatchObject({ code: undefined, reset: constants.NGHTTP2_ENHANCE_YOUR_CALM });
  const large = await call(frame(good), { "x-a": "a".repeat(40_000) });
  expect(large).toMatchObject({ code: undefined, reset: expect.any(Number) });
  expect(await call(frame(good), { authorization: `Bearer ${"a".repeat(15_000)}` })).toMatchObject({ code: status.OK });
});

test("a token that is no metadata is not written out", async () => {
  const written = vi.spyOn(console, "error").mockImplementation(() => {});
  const direct = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await call(frame(good), { authorization: "Bearer s\u00e9cret" });
  const all = JSON.stringify([written.mock.calls, direct.mock.calls]);
  written.mockRestore();
  direct.mockRestore();
  expect(all).not.toContain("cret");
});

test("a server that stops does not wait for a caller that keeps watching its health", async () => {
  const stopping = await startServer({});
  const session = connect(`https://127.0.0.1:${stopping.address.port}`, { ca: pki.ca, servername: "localhost" });
  session.on("error", () => {});
  const watch = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Watch",
    "content-type": "application/grpc",
  });
  watch.on("error", () => {});
  watch.end(frame(Buffer.alloc(0)));
  await new Promise((resolve) => watch.once("data", resolve));
  const startedAt = performance.now();
  await stopping[Symbol.asyncDispose]();
  expect(performance.now() - startedAt).toBeLessThan(6_000);
  session.destroy();
});
