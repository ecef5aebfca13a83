/** Bodies of the HTTP API: right but for one thing, or for many; every route, several kinds of content. */
import fc, { type Arbitrary } from "fast-check";
import { expect } from "vitest";
import { model, type TestPlatform } from "../../kit/index.ts";
import { campaign } from "../support/campaign.ts";
import { bent, damaged, oddJson } from "../support/text.ts";

const chat = {
  model,
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Hello" }], name: "ann", trust: "untrusted" },
  ],
  max_tokens: 1,
  temperature: 0.5,
  top_p: 1,
  top_k: 5,
  seed: 7,
  stop: ["x"],
  presence_penalty: 0,
  frequency_penalty: 0,
  n: 1,
  stream: false,
  stream_options: { include_usage: true },
  user: "u",
};
const moderation = { input: ["Hello", { type: "text", text: "there" }], modality: "text", model: null };

interface Case {
  path: string;
  method: string;
  body: Uint8Array;
  headers: Record<string, string>;
}

const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, "utf16le");

const bodies: Arbitrary<Uint8Array> = fc.oneof(
  { weight: 8, arbitrary: fc.oneof(bent(chat), bent(moderation)).map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: oddJson.map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: damaged(Buffer.from(JSON.stringify(chat))) },
  fc.constantFrom(utf16(JSON.stringify(chat)), Buffer.from(`\ufeff${JSON.stringify({ ...chat, messages: [] })}`)),
  fc
    .nat({ max: 3_000 })
    .map((count) => Buffer.from(JSON.stringify({ ...chat, messages: Array(count).fill(chat.messages[0]) }))),
  fc.nat({ max: 200_000 }).map((length) => Buffer.from(`{"model":"${"a".repeat(length)}"}`)),
  fc.nat({ max: 200_000 }).map((depth) => Buffer.from("[".repeat(depth))),
  fc.nat({ max: 2_000 }).map((count) => Buffer.from(`{${'"model":"x",'.repeat(count)}"model":"y"}`)),
);

const id = "0190c0de-0000-7000-8000-000000000000";
const paths = fc.oneof(
  { weight: 5, arbitrary: fc.constant("/v1/chat/completions") },
  { weight: 3, arbitrary: fc.constant("/v1/moderations") },
  fc.constantFrom(`/v1/requests/${id}/cancel`, `/v1/requests/${id}/receipt`, "/v1/models/x", "/v1/nothing"),
);
const odd = fc.constantFrom<Record<string, string>>(
  { "content-type": "application/json; charset=utf-16" },
  { "content-type": "text/plain" },
  { "content-type": "application/json, text/plain" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "content-encoding": "gzip" },
  { "content-encoding": "br, gzip" },
  { "idempotency-key": "k".repeat(300) },
  { traceparent: "ff-x" },
  { accept: "text/event-stream" },
  { "accept-version": "2" },
);

const cases: Arbitrary<Case> = fc.record({
  path: paths,
  method: fc.oneof(
    { weight: 20, arbitrary: fc.constant("POST") },
    fc.constantFrom("PUT", "DELETE", "PATCH", "OPTIONS"),
  ),
  body: bodies,
  headers: fc.oneof({ weight: 5, arbitrary: fc.constant<Record<string, string>>({}) }, odd),
});

export async function fuzzJson(sallyport: TestPlatform, count: number): Promise<void> {
  const { origin } = new URL(sallyport.platform.endpoints.gatewayHttp);
  const authorization = `Bearer ${sallyport.token("user")}`;
  await campaign("JSON", cases, { cases: count, atOnce: 6 }, async ({ path, method, body, headers }) => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: { authorization, "content-type": "application/json", ...headers },
      body: Buffer.from(body),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    if (response.status === 200) return "200";
    const { error } = JSON.parse(text) as { error: { message: string; type: string; code: string } };
    expect(response.status).toBeLessThan(500);
    expect(error.type).not.toBe("api_error");
    expect(error.message).not.toMatch(/\[object|node_modules|\.ts\b/);
    return `${response.status} ${error.code}`;
  });
}
