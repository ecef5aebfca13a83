import { setTimeout as sleep } from "node:timers/promises";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { beforeEach, expect, test } from "vitest";
import { AppError, type CallContext, createClient } from "../src/index.ts";
import { waitFor } from "../testing/index.ts";
import { gatewayTls, lines, log, pki, startServer } from "./grpc-kit.ts";

const soon = { deadlineMs: 5_000 };
beforeEach(() => {
  lines.length = 0;
});

test("a unary call carries request, token, trace and reply, and the token stays out of metadata and log", async () => {
  let seen: CallContext | undefined;
  await using server = await startServer({
    getRequest: async (request, context) => {
      seen = context;
      return { model: `for ${request.requestId}` };
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  const reply = await client.getRequest({ requestId: "r1" }, { ...soon, bearer: "abc.def", traceparent });
  client.close();
  expect(reply.model).toBe("for r1");
  expect(seen).toMatchObject({ bearer: "abc.def", traceparent, peer: undefined });
  expect(seen!.metadata.get("authorization")).toEqual([]);
  expect(seen!.deadline.getTime() - Date.now()).toBeLessThanOrEqual(5_000);
  expect(lines.join("")).toContain("a".repeat(32));
  expect(lines.join("")).not.toContain("abc.def");
});

test("an AppError reaches the client with code, reason, message and details", async () => {
  await using server = await startServer({
    getRequest: async () => {
      throw new AppError("BLOCKED", "not allowed: “x”\r\n\ud800", {
        reason: "CONTENT_BLOCKED",
        details: { requestId: "r2" },
      });
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const error = await client.getRequest({}, soon).catch((caught) => caught);
  client.close();
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ code: "BLOCKED", reason: "CONTENT_BLOCKED", details: { requestId: "r2" } });
  expect(error.message).toMatch(/^not allowed: “x”/);
});

test("an unknown error becomes INTERNAL and tells the caller nothing, the log everything", async () => {
  await using server = await startServer({
    getRequest: async () => {
      throw new TypeError("the password is in table users");
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const error = await client.getRequest({}, soon).catch((caught) => caught);
  client.close();
  expect(error).toMatchObject({ code: "INTERNAL", reason: "INTERNAL" });
  expect(error.message).not.toContain("password");
  expect(lines.join("")).toContain("the password is in table users");
});

test("a server stream that nobody reads stops producing, and goes on when it is read", async () => {
  let produced = 0;
  const record = new Uint8Array(64 * 1024);
  await using server = await startServer({
    chat: async function* () {
      for (; produced < 500; produced += 1) {
        yield { event: { case: "window", value: { index: produced, content: record } } };
      }
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const stream = client.chat({}, { deadlineMs: 30_000 })[Symbol.asyncIterator]();
  await stream.next();
  await waitFor("the producer to stall", async () => {
    const before = produced;
    await sleep(150);
    return produced === before;
  });
  expect(produced).toBeLessThan(300);
  let received = 1;
  while (!(await stream.next()).done) received += 1;
  client.close();
  expect(received).toBe(500);
});

test("a reader that leaves a stream ends its producer", async () => {
  let ended = false;
  await using server = await startServer({
    chat: async function* (_request, { signal }) {
      try {
        for (let index = 0; ; index += 1) {
          yield { event: { case: "window", value: { index } } };
          await sleep(5, undefined, { signal });
        }
      } finally {
        ended = true;
      }
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  for await (const _ of client.chat({}, soon)) break;
  await waitFor("the producer to end", () => ended);
  client.close();
});

test("an error after some messages of a stream arrives after them", async () => {
  await using server = await startServer({
    chat: async function* () {
      yield { event: { case: "window", value: { index: 7 } } };
      throw new AppError("HELD", "a person decides", { reason: "HELD_DOOR2" });
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const stream = client.chat({}, soon)[Symbol.asyncIterator]();
  expect((await stream.next()).value.event.value.index).toBe(7);
  await expect(stream.next()).rejects.toMatchObject({ code: "HELD", reason: "HELD_DOOR2" });
  client.close();
});

test("a client stream delivers every message, and a source that fails cancels the call", async () => {
  const sizes: number[] = [];
  await using server = await startServer(
    {},
    {
      importModel: async (requests) => {
        for await (const { part } of requests) if (part.case === "chunk") sizes.push(part.value.length);
        return { model: { digest: "d" } };
      },
    },
  );
  const client = createClient(ModelService, { address: server.address, tls: { ca: pki.ca } });
  const chunk = (bytes: number) => ({ part: { case: "chunk" as const, value: new Uint8Array(bytes) } });
  const reply = await client.importModel([chunk(1), chunk(1_000_000), chunk(3)], soon);
  expect([reply.model?.digest, ...sizes]).toEqual(["d", 1, 1_000_000, 3]);
  const failing = async function* () {
    yield chunk(1);
    throw new Error("disk gone");
  };
  await expect(client.importModel(failing(), soon)).rejects.toThrow("disk gone");
  client.close();
});

test("the server ends a call at the caller's deadline and at its own maximum, whatever the handler does", async () => {
  const reasons: unknown[] = [];
  const hang = async (_request: unknown, { signal }: CallContext) => {
    signal.addEventListener("abort", () => reasons.push(signal.reason.code));
    return new Promise<never>(() => {});
  };
  const deadlines = { unary: { defaultDeadlineMs: 100, maxDeadlineMs: 200 } };
  await using server = await startServer({ getRequest: hang }, { deadlines });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const startedAt = performance.now();
  await expect(client.getRequest({}, { deadlineMs: 60 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  await expect(client.getRequest({}, { deadlineMs: 60_000 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  expect(performance.now() - startedAt).toBeLessThan(3_000);
  await waitFor("both signals", () => reasons.length === 2);
  client.close();
});

test("cancelling aborts the handler's signal with CANCELLED", async () => {
  let reason: AppError | undefined;
  let entered = false;
  await using server = await startServer({
    getRequest: async (_request, { signal }) => {
      entered = true;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      reason = signal.reason;
      return {};
    },
  });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const abort = new AbortController();
  const call = client.getRequest({}, { deadlineMs: 60_000, signal: abort.signal });
  await waitFor("the handler", () => entered);
  abort.abort();
  await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
  expect((await waitFor("the reason", () => reason)).code).toBe("CANCELLED");
  client.close();
});

test("calls above the bound are refused with OVERLOADED, and served again after", async () => {
  const gate = Promise.withResolvers<void>();
  let entered = 0;
  const getRequest = async () => {
    entered += 1;
    await gate.promise;
    return {};
  };
  await using server = await startServer({ getRequest }, { maxCalls: 2 });
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  const first = [client.getRequest({}, soon), client.getRequest({}, soon)];
  await waitFor("two calls", () => entered === 2);
  await expect(client.getRequest({}, soon)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" });
  gate.resolve();
  await Promise.all(first);
  await client.getRequest({}, soon);
  client.close();
});

test("messages above the limit are refused in both directions", async () => {
  const big = "x".repeat(70_000);
  await using server = await startServer(
    { getRequest: async ({ requestId }) => ({ model: requestId === "big" ? big : "small" }) },
    { maxMessageBytes: 64 * 1024 },
  );
  const client = createClient(GenerationService, { address: server.address, tls: { ca: pki.ca } });
  await expect(client.getRequest({ requestId: big }, soon)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  await expect(client.getRequest({ requestId: "big" }, soon)).rejects.toMatchObject({ reason: "MESSAGE_TOO_LARGE" });
  expect((await client.getRequest({ requestId: "ok" }, soon)).model).toBe("small");
  client.close();
});

test("disposal lets a call in flight finish, and a restarted server is found within two seconds", async () => {
  const gate = Promise.withResolvers<void>();
  let entered = false;
  const first = await startServer({
    getRequest: async () => {
      entered = true;
      await gate.promise;
      return { model: "done" };
    },
  });
  const client = createClient(GenerationService, { address: first.address, tls: { ca: pki.ca } });
  const call = client.getRequest({}, soon);
  await waitFor("the handler", () => entered);
  const disposed = first[Symbol.asyncDispose]();
  gate.resolve();
  expect((await call).model).toBe("done");
  await disposed;
  await expect(client.getRequest({}, soon)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await sleep(1_500);
  await using second = await startServer(
    { getRequest: async () => ({ model: "again" }) },
    { address: first.address, log },
  );
  void second;
  const again = await waitFor("the new server", () => client.getRequest({}, soon), { timeoutMs: 2_000 });
  expect(again.model).toBe("again");
  client.close();
});

test("a port that is taken is an error that names it", async () => {
  await using server = await startServer({});
  const again = startServer({}, { address: server.address, tls: gatewayTls });
  await expect(again).rejects.toThrow(`cannot listen on 127.0.0.1:${server.address.port}`);
});
