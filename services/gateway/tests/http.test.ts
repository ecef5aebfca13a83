/** The HTTP API as OpenAI's clients see it, with real tokens: plain errors, streams that end in order, no 500 for bad input. */
import { generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rowOf } from "./fixtures/calls.ts";
import { type Gateway, type Platform, startPlatform } from "./fixtures/platform.ts";
import { Attempt } from "./fixtures/words.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
let issuer: ReturnType<typeof createServer>;
let issuerUrl: string;
let platform: Platform;
let gateway: Gateway;
beforeAll(async () => {
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" };
  issuer = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] })));
  await new Promise<void>((resolve) => issuer.listen(0, "127.0.0.1", resolve));
  issuerUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  platform = await startPlatform();
  const issuers = [{ issuer: issuerUrl, audience: "sallyport", jwksUri: `${issuerUrl}/jwks` }];
  gateway = await platform.startGateway({ OIDC_ISSUERS: JSON.stringify(issuers) });
}, 120_000);
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
  await new Promise((resolve) => issuer.close(resolve));
});

function token(subject = "ann"): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { iss: issuerUrl, aud: "sallyport", sub: subject, tenant: "acme", groups: ["sallyport-users"] };
  const exp = Math.floor(Date.now() / 1_000) + 600;
  const signed = `${encode({ alg: "ES256", kid: "k1", typ: "at+jwt" })}.${encode({ ...claims, exp })}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

function request(path: string, body?: object, headers: Record<string, string> = {}): Promise<Response> {
  const address = gateway.context.config.httpAddress;
  return fetch(`http://${address.host}:${address.port}${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${token()}`, ...(body && { "content-type": "application/json" }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
}
const chat = (content: string, more: object = {}, headers = {}) =>
  request("/v1/chat/completions", { model: "pilot", messages: [{ role: "user", content }], ...more }, headers);

const answerOf = async (response: Response) => ({ status: response.status, ...((await response.json()) as object) });

/** Door 2's words for the request that comes next. */
async function answerNext(known: ReadonlySet<string>, ...texts: string[]): Promise<string> {
  const { context } = gateway;
  const id = await waitFor("the next request", async () => {
    const { rows } = await context.db.query<{ id: string }>("SELECT id FROM requests WHERE state = 'queued'");
    return rows.find((row) => !known.has(row.id))?.id;
  });
  const words = await Attempt.of(platform, (await rowOf(context, id))!);
  await words.say(words.started());
  for (const [position, text] of texts.entries()) await words.say(words.window(text, position === texts.length - 1));
  return id;
}

async function answered(ask: () => Promise<Response>, ...texts: string[]): Promise<Response> {
  const { rows } = await gateway.context.db.query<{ id: string }>("SELECT id FROM requests");
  const [response] = await Promise.all([ask(), answerNext(new Set(rows.map(({ id }) => id)), ...texts)]);
  return response;
}

describe("an answer", () => {
  test("comes whole as one JSON body", async () => {
    const response = await answered(() => chat("hello"), "One. ", "Two.");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { role: "assistant", content: "One. Two." }, finish_reason: "stop" }],
      usage: { total_tokens: 3 },
      sallyport: { request_id: response.headers.get("x-request-id"), state: "released" },
    });
  });

  test("comes in events that nothing in a model's text can end or forge", async () => {
    const evil = 'a\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n\r\nevent: x\u2028';
    const response = await answered(() => chat("hello", { stream: true }), evil, "b");
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const events = (await response.text()).split("\n\n").filter(Boolean);
    expect(events.every((event) => event.startsWith("data: ") && !event.includes("\n"))).toBe(true);
    expect(events.at(-1)).toBe("data: [DONE]");
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event.slice(6)));
    expect(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("")).toBe(`${evil}b`);
  });
});

describe("a refusal is a plain error, also of a stream", () => {
  test.each([{ stream: false }, { stream: true }])("%j", async (how) => {
    const denied = await chat("deny", how);
    expect(await answerOf(denied)).toMatchObject({
      status: 400,
      error: { code: "TEST_RULE", type: "content_policy_violation", sallyport: { requestId: expect.any(String) } },
    });
    const held = await chat("hold", how);
    expect(await answerOf(held)).toMatchObject({
      status: 403,
      error: { code: "TEST_RULE", type: "held_for_review" },
    });
  });
});

describe("bad input is the caller's to mend: never a 5xx", () => {
  test.each([
    ["a token limit beyond 32 bits", { max_tokens: 5_000_000_000 }, "max_tokens"],
    ["a negative top_k", { top_k: -1 }, "top_k"],
    ["a huge list of stop sequences", { stop: Array(20_000).fill("x") }, "stop"],
    ["a broken surrogate", { messages: [{ role: "user", content: "\ud800" }] }, "messages[0].content"],
    ["a line break in the caller's reference", { user: "a\r\nset-cookie: x" }, "client_reference"],
    ["more than door 1 takes", { messages: [{ role: "user", content: "x".repeat(140_000) }] }, "messages"],
  ])("%s", async (_, more, param) => {
    const response = await chat("hello", more);
    expect(await answerOf(response)).toMatchObject({
      status: 400,
      error: { type: "invalid_request_error", code: "invalid_field", param },
    });
  });

  test("a path that is no path, and a method that is none of ours, are answered in OpenAI's shape", async () => {
    const address = gateway.context.config.httpAddress;
    const strange = await fetch(`http://${address.host}:${address.port}/v1/models/%zz`);
    expect(await answerOf(strange)).toMatchObject({
      status: 400,
      error: { message: expect.any(String) },
    });
    const unknown = await request("/v1/nothing");
    expect(await answerOf(unknown)).toMatchObject({
      status: 404,
      error: { code: "route_not_found" },
    });
  });

  test("no token: 401, and nothing in the ledger", async () => {
    const count = async () => (await gateway.context.db.query("SELECT 1 FROM requests")).rowCount;
    const before = await count();
    const response = await chat("hello", {}, { authorization: "" });
    expect(response.status).toBe(401);
    expect(await count()).toBe(before);
  });
});
