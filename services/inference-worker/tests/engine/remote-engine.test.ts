import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { waitFor } from "@sallyport/runtime/testing";
import { afterEach, describe, expect, test } from "vitest";
import { RemoteEngine } from "../../src/engine/remote/remote-engine.ts";
import { ask, collect } from "../fixtures/tiny-engine.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;
const never = new AbortController().signal;
const timeouts = { connectMs: 500, firstByteMs: 500, idleMs: 300 };
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

/** A real HTTP server that lists the model and leaves completions to the test. */
async function serve(handler: Handler): Promise<{ engine: RemoteEngine; server: Server; url: string }> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    if (request.url === "/v1/models") response.end(JSON.stringify({ data: [{ id: "far" }] }));
    else handler(request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const engine = new RemoteEngine({ baseUrl: url, model: "far", timeouts });
  await engine.load(never);
  return { engine, server, url };
}

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const delta = (content: string) => event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
const finish = (reason: string) => event({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
const usage = event({ choices: [], usage: { prompt_tokens: 11, completion_tokens: 3 } });
const stream = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" });
const run = (engine: RemoteEngine, signal = never) => collect(engine.generate(ask("hello"), signal));

describe("a model server that works", () => {
  test("its stream becomes text, finish reason and usage, and it gets every parameter", async () => {
    let seen: Record<string, unknown> = {};
    const { engine } = await serve((_, response, body) => {
      seen = JSON.parse(body);
      stream(response).end(
        `: comment\r\n\r\n${delta("one ")}${delta("two")}${finish("length")}${usage}data: [DONE]\n\n`,
      );
    });
    const sampling = { stop: ["x"], topK: 5, presencePenalty: 0.5 };
    const answer = await collect(engine.generate(ask("hello", sampling), never));
    expect(answer).toMatchObject({ text: "one two", tokens: 2 });
    expect(answer.last).toMatchObject({ finishReason: "length", usage: { promptTokens: 11, completionTokens: 3 } });
    expect(seen).toMatchObject({ model: "far", stream: true, max_tokens: 24, seed: 7, top_k: 5, stop: ["x"] });
    expect(seen.messages).toEqual([
      { role: "system", content: "be brief" },
      { role: "user", content: "hello" },
    ]);
  });

  test("a character that is cut by the network comes out whole", async () => {
    const { engine } = await serve((_, response) => {
      const bytes = Buffer.from(`${delta("a\u{1f600}b")}${finish("stop")}data: [DONE]\n\n`);
      const cut = bytes.indexOf(0xf0) + 2;
      stream(response).write(bytes.subarray(0, cut));
      setTimeout(() => response.end(bytes.subarray(cut)), 20);
    });
    expect((await run(engine)).text).toBe("a\u{1f600}b");
  });

  test("a model that it does not list is not loaded", async () => {
    const { url } = await serve(() => {});
    const other = new RemoteEngine({ baseUrl: url, model: "near", timeouts });
    await expect(other.load(never)).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
    expect(other.ready).toBe(false);
  });

  test("cancelling mid-answer closes the connection", async () => {
    let closed = false;
    const { engine } = await serve((_, response) => {
      response.on("close", () => (closed = true));
      stream(response).write(delta("one"));
    });
    const cancel = new AbortController();
    const reading = (async () => {
      for await (const _ of engine.generate(ask("hello"), cancel.signal)) cancel.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    await waitFor("the connection to close", () => closed);
  });

  test("not reading on closes the connection too", async () => {
    let closed = false;
    const { engine } = await serve((_, response) => {
      response.on("close", () => (closed = true));
      stream(response).write(delta("one"));
    });
    for await (const _ of engine.generate(ask("hello"), never)) break;
    await waitFor("the connection to close", () => closed);
  });
});

describe("a model server that fails", () => {
  const broken: [string, Handler, string, boolean][] = [
    ["breaks off mid-answer", (_, r) => stream(r).write(delta("one"), () => r.destroy()), "ENGINE_CRASHED", true],
    ["ends without saying why", (_, r) => stream(r).end(delta("one")), "ENGINE_CRASHED", true],
    ["says it is done without saying why", (_, r) => stream(r).end("data: [DONE]\n\n"), "ENGINE_CRASHED", true],
    ["never answers", () => {}, "ENGINE_TIMEOUT", true],
    ["sends headers and then nothing", (_, r) => stream(r).flushHeaders(), "ENGINE_TIMEOUT", true],
    ["stands still mid-answer", (_, r) => stream(r).write(delta("one")), "ENGINE_TIMEOUT", true],
    ["sends no JSON", (_, r) => stream(r).end("data: {oops\n\n"), "ENGINE_FAILED", true],
    ["sends a JSON list", (_, r) => stream(r).end("data: []\n\n"), "ENGINE_FAILED", true],
    [
      "sends a number for text",
      (_, r) => stream(r).end(event({ choices: [{ delta: { content: 1 } }] })),
      "ENGINE_FAILED",
      true,
    ],
    ["sends null as a choice", (_, r) => stream(r).end(event({ choices: [null] })), "ENGINE_FAILED", true],
    ["sends an error event", (_, r) => stream(r).end(event({ error: { message: "no" } })), "ENGINE_FAILED", true],
    ["wants a tool call", (_, r) => stream(r).end(finish("tool_calls")), "ENGINE_FAILED", true],
    [
      "sends what is not UTF-8",
      (_, r) => stream(r).end(Buffer.from([100, 97, 116, 97, 58, 255, 10])),
      "ENGINE_FAILED",
      true,
    ],
    ["sends an endless line", (_, r) => stream(r).end("x".repeat(3_000_000)), "ENGINE_FAILED", true],
    ["sends more than was asked for", (_, r) => stream(r).end(delta("x".repeat(10_000))), "ENGINE_FAILED", true],
    ["does not stream", (_, r) => r.end("{}"), "ENGINE_FAILED", true],
    ["answers 500", (_, r) => r.writeHead(500).end("no"), "ENGINE_FAILED", true],
    ["is busy", (_, r) => r.writeHead(503).end(), "ENGINE_UNAVAILABLE", true],
    ["refuses the prompt", (_, r) => r.writeHead(400).end("{}"), "PROMPT_UNUSABLE", false],
    [
      "finds the prompt too long",
      (_, r) => r.writeHead(400).end('{"error":{"code":"context_length_exceeded"}}'),
      "CONTEXT_OVERFLOW",
      false,
    ],
  ];
  test.each(broken)("that %s: a typed error", async (_, handler, code, retryable) => {
    const { engine } = await serve(handler);
    await expect(run(engine)).rejects.toMatchObject({ code, retryable });
  });

  test("that redirects is not followed", async () => {
    let followed = false;
    const { engine } = await serve((request, response) => {
      followed ||= request.url === "/elsewhere";
      response.writeHead(307, { location: "/elsewhere" }).end();
    });
    await expect(run(engine)).rejects.toMatchObject({ code: "ENGINE_FAILED" });
    expect(followed).toBe(false);
  });

  test("that is gone: ENGINE_UNAVAILABLE", async () => {
    const { engine, server } = await serve(() => {});
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(run(engine)).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE", retryable: true });
  });

  test("a proxy in the environment is not asked", async () => {
    let asked = false;
    const proxy = createServer((_, response) => {
      asked = true;
      response.end();
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    cleanUps.push(() => proxy.close());
    const names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "NODE_USE_ENV_PROXY"];
    for (const name of names) process.env[name] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    process.env.NODE_USE_ENV_PROXY = "1";
    try {
      const { engine } = await serve((_, r) => stream(r).end(`${delta("one")}${finish("stop")}`));
      expect((await run(engine)).text).toBe("one");
    } finally {
      for (const name of names) delete process.env[name];
    }
    expect(asked).toBe(false);
  });
});
