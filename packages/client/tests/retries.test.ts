import { AppError } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ClientOptions, createClient, SallyportError } from "../src/index.ts";
import { type Scripted, scriptedGateway, ways } from "./scripted.ts";

let gateway: Scripted;
beforeAll(async () => {
  gateway = await scriptedGateway();
});
afterAll(() => gateway?.[Symbol.asyncDispose]());
beforeEach(() => Object.assign(gateway, { answers: [], keys: [], cancelled: [], callers: [] }));

const question = { model: "m", messages: [{ role: "user" as const, content: "hello" }] };
const away = (more: { retryAfterMs?: number; details?: Record<string, string>; reason?: string } = {}) => ({
  error: new AppError("UNAVAILABLE", "come back later", { reason: "DOOR1_UNAVAILABLE", ...more }),
});

describe.each(ways)("over %s", (way) => {
  const connect = (more: Partial<ClientOptions> = {}) =>
    createClient({ address: gateway.address[way], token: "t", verify: "off", tls: { ca: gateway.ca }, ...more });
  const failed = (work: Promise<unknown>): Promise<SallyportError> =>
    work.then(
      () => expect.unreachable(),
      (error) => error,
    );

  test("a whole chat is sent again under one key, made for it", async () => {
    using client = connect();
    gateway.answers = [away(), away(), { texts: ["fine"] }];
    expect((await client.chat(question)).text).toBe("fine");
    expect(gateway.keys).toHaveLength(3);
    expect(new Set(gateway.keys).size).toBe(1);
    expect(gateway.keys[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("never more often than the bound", async () => {
    using client = connect({ maxRetries: 1 });
    gateway.answers = [away()];
    expect(await failed(client.chat(question))).toMatchObject({ code: "UNAVAILABLE", reason: "DOOR1_UNAVAILABLE" });
    expect(gateway.keys).toHaveLength(2);
  });

  test("a stream without a key is never sent twice; with one, until its first window", async () => {
    using client = connect();
    gateway.answers = [away()];
    await failed(client.stream(question).result());
    expect(gateway.keys).toEqual([""]);
    gateway.answers = [away(), { texts: ["fine"] }];
    expect((await client.stream(question, { idempotencyKey: "k" }).result()).text).toBe("fine");
    expect(gateway.keys).toEqual(["", "k", "k"]);
  });

  test("once a window was given, a stream breaks off with its error", async () => {
    using client = connect();
    gateway.answers = [{ texts: ["half"], ...away() }];
    const stream = client.stream(question, { idempotencyKey: "k" });
    const heard: string[] = [];
    const work = (async () => {
      for await (const { text } of stream) heard.push(text);
    })();
    expect(await failed(work)).toMatchObject({ code: "UNAVAILABLE" });
    expect(heard).toEqual(["half"]);
    expect(gateway.keys).toEqual(["k"]);
  });

  test.each([
    ["what has ended stays ended", away({ details: { requestId: "r", leafHash: "ab" } })],
    ["a refusal", { error: new AppError("BLOCKED", "no", { reason: "POLICY" }) }],
    ["a pause", away({ reason: "PAUSED" })],
  ])("%s: not sent again", async (_, answer) => {
    using client = connect();
    gateway.answers = [answer];
    await failed(client.chat(question));
    expect(gateway.keys).toHaveLength(1);
  });

  test("waits as long as it is told, and gives up when that is longer than its deadline", async () => {
    using client = connect();
    const told = { headers: { "retry-after": "1" }, ...away({ retryAfterMs: 1_000 }) };
    gateway.answers = [told, { texts: ["fine"] }];
    const startedAt = performance.now();
    await client.chat(question);
    expect(performance.now() - startedAt).toBeGreaterThan(950);
    gateway.answers = [told];
    expect(await failed(client.chat(question, { timeoutMs: 900 }))).toMatchObject({
      code: "UNAVAILABLE",
      retryAfterMs: 1_000,
      retryable: true,
    });
    expect(gateway.keys).toHaveLength(3);
  });

  test("who gives up a whole chat has it cancelled: the key that was made for it would let it run on", async () => {
    using client = connect();
    gateway.answers = [{ texts: ["half"], hangs: true }];
    const abort = new AbortController();
    const work = failed(client.chat(question, { signal: abort.signal }));
    await waitFor("the call to arrive", () => gateway.keys.length === 1);
    const cancelled = waitFor("the cancellation", () => gateway.cancelled.length === 1);
    setTimeout(() => abort.abort(), 100);
    expect(await work).toMatchObject({ code: "CANCELLED" });
    await cancelled;
  });

  test("a deadline ends a call that hangs", async () => {
    using client = connect({ timeoutMs: 200 });
    gateway.answers = [{ texts: ["half"], hangs: true }];
    expect(await failed(client.stream(question).result())).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test.each([
    ["is not by the given authority", () => ({})],
    ["is another service's", () => ({ ca: gateway.ca, serverId: "spiffe://sallyport.local/governance" })],
  ])("a server whose certificate %s gets no token", async (_, tls) => {
    using client = connect({ tls: tls(), maxRetries: 0 });
    gateway.answers = [{ texts: ["fine"] }];
    expect(await failed(client.chat(question))).toMatchObject({ code: "UNAVAILABLE" });
    expect(gateway.keys).toEqual([]);
  });

  test("a token is asked for before every try, also by a function; a client certificate needs none", async () => {
    let asked = 0;
    using byToken = connect({ token: async () => `token-${++asked}\n` });
    gateway.answers = [away(), { texts: ["fine"] }];
    await byToken.chat(question);
    expect(gateway.callers).toEqual(["token-1", "token-2"]);
    gateway.callers = [];
    using byCertificate = connect({ token: undefined, tls: { ca: gateway.ca, ...gateway.clientCertificate } });
    await byCertificate.chat(question);
    expect(gateway.callers).toEqual(["CN=batch-job"]);
  });

  test("a server is known by its id, where one is given", async () => {
    using client = connect({ tls: { ca: gateway.ca, serverId: "spiffe://sallyport.local/gateway" } });
    gateway.answers = [{ texts: ["fine"] }];
    expect((await client.chat(question)).text).toBe("fine");
  });
});

test("x-should-retry says whether to", async () => {
  using client = createClient({ address: gateway.address.http, verify: "off", tls: { ca: gateway.ca } });
  gateway.answers = [{ ...away(), headers: { "x-should-retry": "false" } }];
  const error = await client.chat(question).then(
    () => expect.unreachable(),
    (thrown) => thrown,
  );
  expect(error).toMatchObject({ retryable: false });
  expect(error).toBeInstanceOf(SallyportError);
  expect(gateway.keys).toHaveLength(1);
});

test.each([
  [{ retryAfterMs: 250 }, { retryable: true, retryAfterMs: 250 }],
  [{}, { retryable: true, retryAfterMs: 1_000 }],
  [{ reason: "PAUSED" }, { retryable: false, retryAfterMs: undefined }],
  [
    { retryAfterMs: 3_600_000, details: { shouldRetry: "false" } },
    { retryable: false, retryAfterMs: 3_600_000 },
  ],
])("whether and when to try again is the same over both: %j", async (more, expected) => {
  for (const way of ways) {
    using client = createClient({
      address: gateway.address[way],
      verify: "off",
      tls: { ca: gateway.ca },
      maxRetries: 0,
    });
    gateway.answers = [away(more)];
    const error = await client.chat(question).then(
      () => expect.unreachable(),
      (thrown) => thrown,
    );
    expect({ retryable: error.retryable, retryAfterMs: error.retryAfterMs }, way).toEqual(expected);
  }
});
