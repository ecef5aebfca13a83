import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, mint, model, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
beforeAll(async () => {
  sallyport = await bootPlatform("input");
}, 180_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

const hello = { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 8 };
const chat = "/v1/chat/completions";

interface Case {
  name: string;
  path?: string;
  body?: unknown;
  headers?: Record<string, string>;
  token?: () => Promise<string> | string;
  status: number;
  code: string;
}

const cases: Case[] = [
  { name: "malformed JSON", body: '{"model":', status: 400, code: "body_malformed" },
  { name: "an empty body", body: "", status: 400, code: "body_empty" },
  {
    name: "another content type",
    body: "model=x",
    headers: { "content-type": "text/plain" },
    status: 400,
    code: "unsupported_media_type",
  },
  { name: "a body that is no object", body: "[]", status: 400, code: "invalid_field" },
  { name: "messages of a wrong type", body: { ...hello, messages: "hi" }, status: 400, code: "invalid_field" },
  { name: "no messages", body: { ...hello, messages: [] }, status: 400, code: "invalid_field" },
  {
    name: "an unknown role",
    body: { ...hello, messages: [{ role: "root", content: "x" }] },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "an empty message",
    body: { ...hello, messages: [{ role: "user", content: "" }] },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "a number as content",
    body: { ...hello, messages: [{ role: "user", content: 7 }] },
    status: 400,
    code: "invalid_field",
  },
  { name: "an unsupported parameter", body: { ...hello, logit_bias: {} }, status: 400, code: "unsupported_parameter" },
  { name: "a temperature out of range", body: { ...hello, temperature: 9 }, status: 400, code: "invalid_field" },
  { name: "a negative token limit", body: { ...hello, max_tokens: -1 }, status: 400, code: "invalid_field" },
  { name: "a seed out of range", body: { ...hello, seed: 2 ** 40 }, status: 400, code: "invalid_field" },
  {
    name: "too many stop sequences",
    body: { ...hello, stop: ["a", "b", "c", "d", "e"] },
    status: 400,
    code: "invalid_field",
  },
  { name: "an unknown model", body: { ...hello, model: "no-such-model" }, status: 404, code: "model_not_found" },
  {
    name: "a model name that is a path",
    body: { ...hello, model: "../../etc/passwd" },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "a huge prompt",
    body: { ...hello, messages: [{ role: "user", content: "word ".repeat(80_000) }] },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "a body over the limit",
    body: { ...hello, messages: [{ role: "user", content: "x".repeat(2_000_000) }] },
    status: 400,
    code: "body_too_large",
  },
  {
    name: "an unpaired surrogate",
    body: '{"model":"pilot-text","messages":[{"role":"user","content":"\\ud800"}]}',
    status: 400,
    code: "invalid_field",
  },
  {
    name: "a NUL character",
    body: { ...hello, messages: [{ role: "user", content: "a\u0000b" }] },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "prototype pollution",
    body: '{"__proto__":{"admin":true},"model":"pilot-text","messages":[]}',
    status: 400,
    code: "body_malformed",
  },
  {
    name: "an overlong idempotency key",
    body: hello,
    headers: { "idempotency-key": "k".repeat(300) },
    status: 400,
    code: "invalid_field",
  },
  {
    name: "a control character in the caller's reference",
    body: { ...hello, user: "a\r\nx-evil: 1" },
    status: 400,
    code: "invalid_field",
  },
  { name: "an unknown path", path: "/v1/nothing", body: hello, status: 404, code: "route_not_found" },
  { name: "a request id that is none", path: "/v1/requests/1/cancel", body: {}, status: 400, code: "invalid_field" },
  { name: "moderation without input", path: "/v1/moderations", body: {}, status: 400, code: "invalid_field" },
  { name: "no token", body: hello, token: () => "", status: 401, code: "token_missing" },
  { name: "a token that is none", body: hello, token: () => "nonsense", status: 401, code: "token_malformed" },
  {
    name: "an expired token",
    body: hello,
    token: () => mint(sallyport, { expiresInS: -120 }),
    status: 401,
    code: "token_expired",
  },
  {
    name: "a token for another audience",
    body: hello,
    token: () => mint(sallyport, { audience: "https://elsewhere.example" }),
    status: 401,
    code: "token_audience",
  },
  {
    name: "a token of another issuer",
    body: hello,
    token: () => mint(sallyport, { issuer: "https://elsewhere.example" }),
    status: 401,
    code: "token_issuer",
  },
  {
    name: "an unsigned token",
    body: hello,
    token: () => mint(sallyport, { algorithm: "none" }),
    status: 401,
    code: "token_algorithm",
  },
  {
    name: "a token signed with the public key as secret",
    body: hello,
    token: () => mint(sallyport, { algorithm: "HS256" }),
    status: 401,
    code: "token_algorithm",
  },
  {
    name: "a token signed by somebody else",
    body: hello,
    token: () => mint(sallyport, { foreignKey: true }),
    status: 401,
    code: "token_signature",
  },
];

describe("bad input gets a helpful 4xx, never a 500 and never a hang", () => {
  test.each(cases)("$name", async ({ path = chat, body, headers, token, status, code }) => {
    const response = await sallyport.http(path, { body, headers, ...(token && { token: await token() }) });
    const answer = (await response.json()) as { error: { code: string; message: string; type: string } };
    expect({ status: response.status, code: answer.error.code }).toEqual({ status, code });
    expect(answer.error.message.length).toBeGreaterThan(10);
    expect(answer.error.message).not.toMatch(/at .*\.ts|node_modules|undefined/);
  });

  test("invalid UTF-8 in the body", async () => {
    const { gatewayHttp } = sallyport.platform.endpoints;
    const body = Buffer.concat([
      Buffer.from('{"model":"pilot-text","messages":[{"role":"user","content":"'),
      Buffer.from([0xff, 0xfe, 0xc0]),
      Buffer.from('"}]}'),
    ]);
    const headers = { authorization: `Bearer ${sallyport.token("user")}`, "content-type": "application/json" };
    const response = await fetch(`${gatewayHttp}/chat/completions`, {
      method: "POST",
      headers,
      body,
      signal: AbortSignal.timeout(30_000),
    });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { code: string } }).error.code).toBe("body_malformed");
  });

  test("header injection and a smuggled second request", async () => {
    const { hostname, port } = new URL(sallyport.platform.endpoints.gatewayHttp);
    const raw = await speak(
      hostname,
      Number(port),
      "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: b\x00c\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    );
    expect(raw).toMatch(/^HTTP\/1\.1 400/);
    expect(raw.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  });

  test("and what is right still passes", async () => {
    const response = await sallyport.http(chat, { body: hello });
    expect(response.status).toBe(200);
  });
});

function speak(host: string, port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port }, () => socket.write(bytes, "latin1"));
    let answer = "";
    socket.setTimeout(15_000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("end", () => resolve(answer));
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}
