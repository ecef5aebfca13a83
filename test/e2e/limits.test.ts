/** Quotas as callers meet them, with the real services and the real model: what they are told, and who gets through. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultBundleDir, type QuotaRule } from "@sallyport/policy";
import { Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, grpcClients, mint, model, type TestPlatform } from "../kit/index.ts";

const quotas: QuotaRule[] = [
  { name: "person", per: "identity", requestsPerDay: 40, tokensPerMinute: 1_000_000, concurrency: 4 },
  { name: "few", per: "identity", groups: ["few"], requestsPerDay: 4 },
  { name: "none", per: "identity", groups: ["none"], requestsPerMinute: 0 },
];

let sallyport: TestPlatform;
let bundle: string;
beforeAll(async () => {
  bundle = mkdtempSync(join(tmpdir(), "sallyport-bundle-"));
  cpSync(defaultBundleDir, bundle, { recursive: true });
  // What the bundle's own tests expect of its quotas, these are not.
  rmSync(join(bundle, "tests", "quotas.json"));
  const file = join(bundle, "data.json");
  const data = JSON.parse(readFileSync(file, "utf8"));
  data.config.quotas = quotas;
  writeFileSync(file, JSON.stringify(data));
  sallyport = await bootPlatform("limits", { policyBundleDir: bundle });
}, 180_000);
afterAll(async () => {
  await sallyport?.[Symbol.asyncDispose]();
  rmSync(bundle, { recursive: true, force: true });
}, 60_000);

const messages = [{ role: "user" as const, content: "What is Sallyport?" }];
const question = { model, messages, temperature: 0, max_tokens: 16 };
const tokenOf = (sub: string, ...groups: string[]) =>
  mint(sallyport, { claims: { sub, groups: ["sallyport-users", ...groups] } });
const clientOf = async (sub: string, ...groups: string[]) => {
  const { gatewayHttp: baseURL } = sallyport.platform.endpoints;
  return new OpenAI({ baseURL, apiKey: await tokenOf(sub, ...groups), maxRetries: 0, timeout: 60_000 });
};
const failureOf = <T>(call: Promise<T>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a caller of the OpenAI API", () => {
  test("is told what is left with every answer, whole, streamed, moderated or blocked", async () => {
    const openai = await clientOf("ann", "few");
    const { response: whole } = await openai.chat.completions.create(question).withResponse();
    expect(whole.headers.get("ratelimit-policy")).toBe(
      '"person-requests-day";q=40;w=86400, "person-tokens-minute";q=1000000;qu="tokens";w=60, "person-concurrency";q=4;qu="concurrent-requests", "few-requests-day";q=4;w=86400',
    );
    expect(whole.headers.get("ratelimit")).toMatch(
      /^"person-requests-day";r=39;t=\d+, "person-tokens-minute";r=9\d+;t=\d+, "person-concurrency";r=3, "few-requests-day";r=3;t=\d+$/,
    );
    expect(whole.headers.get("x-ratelimit-remaining-requests")).toBe("3");
    const { data, response: streamed } = await openai.chat.completions
      .create({ ...question, stream: true })
      .withResponse();
    for await (const _ of data);
    expect(streamed.headers.get("x-ratelimit-remaining-requests")).toBe("2");
    const { response: moderated } = await openai.moderations.create({ input: "a" }).withResponse();
    expect(moderated.headers.get("ratelimit")).toContain('"few-requests-day";r=1;');
    const blocked = { model, messages: [{ role: "user" as const, content: "SALLYPORT-BLOCK-ME" }] };
    const refused = (await failureOf(openai.chat.completions.create(blocked))) as InstanceType<typeof OpenAI.APIError>;
    expect([refused.status, refused.headers?.get("x-ratelimit-remaining-requests")]).toEqual([400, "0"]);
    // What door 1 refused was given back.
    const { response: last } = await openai.chat.completions.create(question).withResponse();
    expect(last.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    const over = await failureOf(openai.chat.completions.create(question));
    expect(over).toBeInstanceOf(OpenAI.RateLimitError);
    const { headers, code } = over as InstanceType<typeof OpenAI.RateLimitError>;
    expect(code).toBe("quota_exhausted");
    expect(headers.get("ratelimit")).toBe(`"few-requests-day";r=0;t=${headers.get("retry-after")}`);
    expect(headers.get("x-should-retry")).toBe("false");
  });

  test("who may ask for nothing is told so, not to come back", async () => {
    const over = await failureOf((await clientOf("nobody", "none")).chat.completions.create(question));
    expect(over).toMatchObject({ status: 429, code: "rate_limited" });
    expect((over as InstanceType<typeof OpenAI.APIError>).headers?.get("retry-after")).toBeNull();
  });
});

test("a caller by gRPC gets RESOURCE_EXHAUSTED with reason, limit and the time to come back", async () => {
  using clients = grpcClients(sallyport.platform);
  const bearer = await tokenOf("bob", "few");
  const ask = async () => {
    const content = {
      model,
      messages: [{ role: Role.USER, content: "What is Sallyport?" }],
      parameters: { maxTokens: 8 },
    };
    for await (const _ of clients.generation.chat({ content }, { bearer, deadlineMs: 60_000 }));
  };
  for (let round = 0; round < 4; round += 1) await ask();
  const over = await failureOf(ask());
  expect(over).toBeInstanceOf(AppError);
  expect(over).toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    reason: "QUOTA_EXHAUSTED",
    details: { limit: "few-requests-day", quota: "4", unit: "requests", window: "day" },
  });
  expect((over as AppError).retryAfterMs).toBeGreaterThan(0);
});

test("one identity floods with hundreds of calls: it gets its places, and another one's calls all succeed", async () => {
  const flooding = new AbortController();
  const flooder = await clientOf("flood");
  const flood = Array.from({ length: 300 }, () =>
    failureOf(flooder.chat.completions.create(question, { signal: flooding.signal })),
  );
  const carol = await clientOf("carol");
  const took: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    const startedAt = performance.now();
    const answer = await carol.chat.completions.create(question);
    took.push(Math.round(performance.now() - startedAt));
    expect(answer.choices[0]?.message.content).toBeTruthy();
  }
  flooding.abort();
  const outcomes = await Promise.all(flood);
  const refused = outcomes.filter((error) => error instanceof OpenAI.RateLimitError);
  console.info(`beside a flood (${refused.length} of 300 refused) calls took ${took.join(", ")} ms`);
  expect(new Set(refused.map(({ code }) => code)).size).toBeGreaterThan(0);
  expect(refused.every(({ code }) => ["concurrency_limit", "overloaded", "quota_exhausted"].includes(code!))).toBe(
    true,
  );
  expect(refused.length).toBeGreaterThan(200);
  expect(Math.max(...took)).toBeLessThan(20_000);
}, 120_000);
