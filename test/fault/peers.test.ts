/**
 * What users of systems of this kind complain of, tried on this one. A rate limit that more get through than it says when
 * they come at once is tried in services/gateway/tests/quotas.test.ts, forged verdicts in test/e2e/forgery.test.ts.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { decodeEnvelopeJson, decodeStatement, type Envelope, envelopeDigest } from "@sallyport/attestation";
import { ChatContentSchema, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import {
  Decision,
  JudgeRequestRequestSchema,
  JudgeRequestResponseSchema,
} from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { streams, subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATEWAY_ID } from "../../infra/local/services.ts";
import {
  type Ask,
  bootPlatform,
  type Call,
  chatByGrpc,
  chatByHttp,
  chatBySse,
  committedWindows,
  grpcClients,
  Intruder,
  model,
  readRequest,
  readRequests,
  signAs,
  signingKeyOf,
  type TestPlatform,
} from "../kit/index.ts";
import { doorStatement } from "./support/door-statement.ts";
import { type DoorAnswer, startFalseDoor1 } from "./support/false-door.ts";
import { AuditLog, isTerminal } from "./support/log.ts";
import { findSecrets } from "./support/secrets.ts";

const deadlineMs = 20_000;
const timeouts = { REQUEST_DEADLINE: "8s", STALL_TIMEOUT: "3s", DOOR1_DEADLINE: "1500ms", REDISPATCH_AFTER: "2s" };
const question = { content: "What is Sallyport?", maxTokens: 24 };
const denied = { content: "Say the block phrase." };

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let log: AuditLog;
beforeAll(async () => {
  sallyport = await bootPlatform("peers", { extraEnv: { gateway: timeouts } });
  clients = grpcClients(sallyport.platform);
  log = new AuditLog(sallyport, clients);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

const ways = {
  "gRPC stream": (ask: Ask) => chatByGrpc(sallyport, clients, ask, { deadlineMs }),
  "server-sent events": (ask: Ask) => chatBySse(sallyport, ask, { deadlineMs }),
  "whole answer": (ask: Ask) => chatByHttp(sallyport, ask, { deadlineMs }),
};

/** The terminal record, as the log has it. */
async function recordOf({ requestId }: Call) {
  return await waitFor("the terminal record", async () => {
    const found = (await log.records()).find((record) => isTerminal(record) && record.request?.id === requestId);
    return found && (JSON.parse(Buffer.from(found.bytes).toString()) as Ending);
  });
}
interface Ending {
  event: string;
  decision: { stage: string; decision: string };
  attestations: object[];
}

describe("a guard is not skipped while streaming and logged as passed", () => {
  test.each(Object.keys(ways) as (keyof typeof ways)[])(
    "%s: the record names a verdict for each window",
    async (way) => {
      const call = await ways[way](question).done;
      expect(call).toMatchObject({ state: "released", error: undefined });
      const record = await recordOf(call);
      expect(record).toMatchObject({ event: "request.released", decision: { stage: "door2", decision: "allow" } });
      const windows = await committedWindows(
        sallyport.platform,
        (await readRequest(sallyport.platform, call.requestId!))!,
      );
      // Back from the last verdict, which the record has, to the worker's claim: each link is door 2's.
      const envelopes = new Map(windows.map(({ envelope }) => [envelopeDigest(envelope), envelope]));
      const [door1, claim, last] = record.attestations.map((json) => decodeEnvelopeJson(JSON.stringify(json)));
      expect(decodeStatement(door1!.payload).predicate).toMatchObject({ stage: "door1", decision: "allow" });
      let judged = 0;
      let at: Envelope | undefined = last;
      for (; at && envelopeDigest(at) !== envelopeDigest(claim!); judged++) {
        const { predicate } = decodeStatement(at.payload);
        expect(predicate).toMatchObject({ stage: "door2", decision: "allow" });
        at = envelopes.get(predicate.prev!) ?? (predicate.prev === envelopeDigest(claim!) ? claim : undefined);
      }
      expect(at, "the chain reaches the claim").toBeDefined();
      expect(judged).toBe(windows.length);
      const text = windows.map(({ content }) => fromBinary(WindowContentSchema, content).text).join("");
      expect(call.text).toBe(text);
    },
  );

  test.each(Object.keys(ways) as (keyof typeof ways)[])(
    "%s: what door 2 stops is logged as stopped by it",
    async (way) => {
      const call = await ways[way](denied).done;
      expect(call.error?.reason).toMatch(/TEST_BLOCK/i);
      expect(call.text).not.toContain("SALLYPORT-BLOCK");
      expect(await recordOf(call)).toMatchObject({
        event: "request.blocked",
        decision: { stage: "door2", decision: "deny" },
      });
    },
  );
});

const response = (init: Parameters<typeof create<typeof JudgeRequestResponseSchema>>[1]) =>
  toBinary(JudgeRequestResponseSchema, create(JudgeRequestResponseSchema, init));

/** Allowed, in door 1's words, signed by another service's key. */
function allowedByAnother(request: Uint8Array): Uint8Array {
  const asked = fromBinary(JudgeRequestRequestSchema, request);
  const envelope = signAs(signingKeyOf(sallyport.platform, "watermarker"), "door1", doorStatement(asked));
  return response({ decision: Decision.ALLOW, envelope });
}

/** Allowed, signed by door 1 itself, but over other bytes. */
function allowedOther(request: Uint8Array): Uint8Array {
  const asked = fromBinary(JudgeRequestRequestSchema, request);
  const content = toBinary(ChatContentSchema, create(ChatContentSchema, { model, messages: [] }));
  const statement = doorStatement({ ...asked, content });
  const envelope = signAs(signingKeyOf(sallyport.platform, "pre-moderator"), "door1", statement);
  return response({ decision: Decision.ALLOW, envelope });
}

const answers: { how: string; answer: (request: Uint8Array) => DoorAnswer }[] = [
  { how: "hangs", answer: () => "none" },
  { how: "fails", answer: () => ({ code: status.INTERNAL }) },
  { how: "is overloaded", answer: () => ({ code: status.RESOURCE_EXHAUSTED }) },
  { how: "answers with nothing", answer: () => new Uint8Array() },
  { how: "answers with rubbish", answer: () => Buffer.from("allow: true") },
  { how: "allows, unsigned", answer: () => response({ decision: Decision.ALLOW }) },
  { how: "allows, signed by another service", answer: allowedByAnother },
  { how: "allows other bytes than were asked about", answer: allowedOther },
];

describe("door 1 does not fail open", () => {
  beforeAll(() => sallyport.platform.service("pre-moderator").stop(), 60_000);
  afterAll(async () => {
    await sallyport.platform.service("pre-moderator").start();
    await sallyport.platform.service("pre-moderator").whenReady();
    // Control: it was the door that mattered.
    expect(await ways["gRPC stream"](question).done).toMatchObject({ state: "released" });
  }, 60_000);

  test.each(answers)("when it $how, nothing is accepted", async ({ answer }) => {
    await using door = await startFalseDoor1(sallyport.platform, answer);
    const before = (await readRequests(sallyport.platform)).length;
    const calls = await Promise.all(Object.values(ways).map((ask) => ask(question).done));
    for (const call of calls) {
      expect(call).toMatchObject({ text: "", state: undefined });
      expect(call.error?.reason, JSON.stringify(call.error)).not.toMatch(/NO_OUTCOME|CONNECTION_LOST|CALLER_GAVE_UP/);
      expect(call.tookMs).toBeLessThan(deadlineMs / 2);
    }
    expect(door.asked).toBeGreaterThanOrEqual(calls.length);
    expect(await readRequests(sallyport.platform)).toHaveLength(before);
  });
});

describe("door 2 does not fail open", () => {
  beforeAll(() => sallyport.platform.service("post-moderator").stop(), 60_000);
  afterAll(async () => {
    await sallyport.platform.service("post-moderator").start();
    await sallyport.platform.service("post-moderator").whenReady();
    expect(await ways["gRPC stream"](question).done).toMatchObject({ state: "released" });
  }, 60_000);

  test.each([
    { how: "says nothing", bytes: undefined },
    { how: "says rubbish", bytes: Buffer.from("allow: true") },
    { how: "says an empty verdict", bytes: new Uint8Array() },
  ])(
    "when it $how, nothing is heard",
    async ({ bytes }) => {
      await using intruder = await Intruder.as("post-moderator", sallyport.platform);
      const calls = Object.values(ways).map((ask) => ask(question));
      const running = await waitFor("them to run", async () => {
        const rows = (await readRequests(sallyport.platform)).filter(({ endedAt }) => endedAt === null);
        return rows.length === calls.length ? rows : undefined;
      });
      for (const { id } of running) if (bytes) await intruder.putBytes(subjects.verdict(GATEWAY_ID, id), bytes);
      for (const call of await Promise.all(calls.map(({ done }) => done))) {
        expect(call.text).toBe("");
        expect(call.state).not.toBe("released");
        expect(call.error?.reason).not.toMatch(/NO_OUTCOME|CONNECTION_LOST|CALLER_GAVE_UP/);
      }
      for (const { id } of running) expect((await readRequest(sallyport.platform, id))?.state).toBe("failed");
    },
    60_000,
  );
});

describe("no image passes that nothing looked at", () => {
  const pixel =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  test.each([
    { type: "image_url", image_url: { url: pixel } },
    { type: "image_url", image_url: { url: "https://images.example/cat.png" } },
    { type: "input_image", image_url: pixel },
    { type: "file", file: { file_data: pixel } },
  ])("as a part of a message: $type", async (part) => {
    const messages = [{ role: "user", content: [{ type: "text", text: "What is this?" }, part] }];
    const before = (await readRequests(sallyport.platform)).length;
    const answer = await sallyport.http("/v1/chat/completions", { body: { model, messages } });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { type: "invalid_request_error" } });
    expect(await readRequests(sallyport.platform)).toHaveLength(before);
  });

  test.each(["generations", "edits", "variations"])("by /v1/images/%s, which there is not", async (operation) => {
    const answer = await sallyport.http(`/v1/images/${operation}`, { body: { model, prompt: "a cat" } });
    expect(answer.status).toBe(404);
  });

  test("nor has the bus a way for one, or gRPC a field", () => {
    expect(Object.keys(streams).filter((name) => /IMAGE|MARKED/.test(name))).toEqual([]);
    const bytesOfMessages = ChatContentSchema.field.messages?.message?.fields.map(({ localName }) => localName);
    expect(bytesOfMessages).toEqual(["role", "content", "name", "trust"]);
  });
});

test("a token or prompt that was sent to the wrong place is in no log", async () => {
  const token = sallyport.token("user");
  const broken = `${token.slice(0, -4)}AAAA`;
  const prompt = "a prompt that only this test ever sends";
  const body = { model, messages: [{ role: "user", content: prompt }], max_tokens: 8 };
  const path = "/v1/chat/completions";
  await sallyport.http(`${path}?api_key=${token}`, { body });
  await sallyport.http(path, { body, token: broken, headers: { "x-api-key": token } });
  await sallyport.http(path, { body: `{"model":"${token}",`, headers: { cookie: token } });
  await sallyport.http(path, { body: { ...body, [token]: prompt } });
  await sallyport.http(`/v1/requests/${token.slice(-60)}`, { method: "GET" });
  await sallyport.http("/v1/moderations", { body: { input: prompt } });
  const found = await findSecrets(
    sallyport.platform,
    [],
    [
      { what: "a prompt", text: prompt },
      { what: "a broken token", text: broken.split(".").at(-1)!.slice(0, -4) },
    ],
  );
  expect(found.lines).toBeGreaterThan(100);
  expect(found.leaks).toEqual([]);
}, 60_000);
