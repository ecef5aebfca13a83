import { fromBinary } from "@bufbuild/protobuf";
import { open, TicketVerifier } from "@sallyport/attestation";
import { ControlMessageSchema, type WindowMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import {
  FinishReason,
  type WindowContent,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { subjects } from "@sallyport/proto/subjects";
import { stoppedBySwitch } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "./fixtures/platform.ts";
import { approve, finished, makeRequest, submit, type TestRequest, windowsOf } from "./fixtures/requests.ts";
import { makeStore, type TinyStore } from "./fixtures/tiny-engine.ts";
import { engineReady, startWorker, type TestWorker } from "./fixtures/worker.ts";

const name = "tiny.model";
let platform: Platform;
let store: TinyStore;
let worker: TestWorker;
beforeAll(async () => {
  platform = await startPlatform();
  store = makeStore({ contextTokens: 4_096 });
  await approve(platform, [{ name, digest: store.digest, contextTokens: 4_096 }]);
  worker = await startWorker(platform, { MODEL_STORE_DIR: store.storeDir, ENGINE_STALL_TIMEOUT: "2s" });
  await engineReady(worker);
}, 60_000);
afterAll(async () => {
  await worker?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
  store?.[Symbol.dispose]();
});

const request = (options: Partial<Parameters<typeof makeRequest>[1]> = {}) =>
  makeRequest(platform, {
    model: name,
    modelDigest: store.digest,
    parameters: { maxTokens: 80, seed: 7n },
    ...options,
  });

function contentOf({ job, secret }: TestRequest, { body, attempt, index }: WindowMessage): WindowContent {
  if (body.case !== "content") throw new Error(`no content but ${body.case}`);
  const context = { requestId: job.requestId, kind: "window" as const, attempt, index };
  return fromBinary(WindowContentSchema, open(secret, context, body.value));
}

const failureOf = (messages: readonly WindowMessage[]) => messages.at(-1)!.body.value;
const longAnswer = { parameters: { maxTokens: 3_500, seed: 7n } };

/** Submits and resolves once a few windows are out, so that what follows happens mid-answer. */
async function begin(made: TestRequest): Promise<void> {
  await submit(platform, made.job);
  await waitFor("the first windows", async () => (await windowsOf(platform, made.job.requestId)).length > 3);
}

describe("an admitted request", () => {
  test("becomes Start, then windows in order, the last with finish reason and usage", async () => {
    const made = await request();
    await submit(platform, made.job);
    const messages = await finished(platform, made.job.requestId);
    const [first] = messages;
    const together = first?.body.case === "start" && first.body.value.content.length > 0 ? 1 : 0;
    expect(messages.map(({ index }) => index)).toEqual(messages.map((_, i) => (i === 0 ? 0 : i + together)));
    expect(messages.map(({ final }) => final).indexOf(true)).toBe(messages.length - 1);
    expect(new Set(messages.map(({ runId }) => runId)).size).toBe(1);
    const contents = messages.slice(1).map((message) => contentOf(made, message));
    expect(contents.length).toBeGreaterThan(2);
    expect(contents.at(-1)).toMatchObject({ finishReason: FinishReason.LENGTH, usage: { completionTokens: 80 } });
    expect(contents.map(({ text }) => text).join("").length).toBeGreaterThan(100);
  });

  test("carries a claim that the gateway's verifier accepts, and only door 2's secret", async () => {
    const made = await request({ reviewed: true });
    await submit(platform, made.job);
    const [start] = await finished(platform, made.job.requestId);
    if (start?.body.case !== "start") throw new Error("no start");
    const { job, claim } = start.body.value;
    expect(job?.secrets.map(({ service }) => service)).toEqual(["post-moderator"]);
    const { requestId, tenant, requestDigest, admission } = made.job;
    const verifier = new TicketVerifier({
      ...{
        trust: platform.trust,
        requestId,
        tenant,
        requestDigest,
        attempt: 1,
        salt: made.secret.salt,
        modality: "text",
      },
      ...{ clock: () => new Date(), approvedModel: (digest: string) => digest === store.digest },
    });
    verifier.admit(admission!.door1!, { review: admission!.review!, countersign: admission!.countersign! });
    const { predicate } = verifier.claim(claim!).statement;
    expect(predicate.parameters).toMatchObject({ seed: 7, engine: "llama", runId: start.runId });
  });

  test("gives the same text for the same seed", async () => {
    const texts = [];
    for (let i = 0; i < 2; i += 1) {
      const made = await request();
      await submit(platform, made.job);
      const messages = await finished(platform, made.job.requestId);
      texts.push(
        messages
          .slice(1)
          .map((message) => contentOf(made, message).text)
          .join(""),
      );
    }
    expect(texts[0]).toBe(texts[1]);
  });

  test("leaves neither prompt nor answer nor key in the log", async () => {
    const made = await request({ text: "a very private question about zanzibar" });
    await submit(platform, made.job);
    const messages = await finished(platform, made.job.requestId);
    const log = worker.logged.join("");
    expect(log).toContain(made.job.requestId);
    expect(log).not.toContain("zanzibar");
    expect(log).not.toContain(contentOf(made, messages[1]!).text.trim());
    for (const part of [made.secret.key, made.secret.salt]) {
      for (const encoding of ["hex", "base64"] as const)
        expect(log).not.toContain(Buffer.from(part).toString(encoding));
    }
  });
});

test("more requests than the engine has sequences are all answered, each with its own windows", async () => {
  const made = await Promise.all(Array.from({ length: 6 }, (_, i) => request({ text: `question ${i}` })));
  await Promise.all(made.map(({ job }) => submit(platform, job)));
  for (const one of made) {
    const messages = await finished(platform, one.job.requestId);
    const [first] = messages;
    const together = first?.body.case === "start" && first.body.value.content.length > 0 ? 1 : 0;
    expect(messages.map(({ index }) => index)).toEqual(messages.map((_, i) => (i === 0 ? 0 : i + together)));
    expect(contentOf(one, messages.at(-1)!).usage?.completionTokens).toBe(80);
  }
});

describe("a run that is stopped", () => {
  test("by the gateway ends mid-answer with CANCELLED", async () => {
    const made = await request(longAnswer);
    await begin(made);
    const { requestId } = made.job;
    platform.gateway.signal(subjects.control(requestId), ControlMessageSchema, { requestId, code: "CANCELLED" });
    const messages = await finished(platform, requestId);
    expect(failureOf(messages)).toMatchObject({ code: "CANCELLED", retryable: false });
    await expectAcknowledged();
  });

  test("by the gateway while its job is still on its way is never begun", async () => {
    const made = await request(longAnswer);
    const { requestId } = made.job;
    platform.gateway.signal(subjects.control(requestId), ControlMessageSchema, { requestId, code: "CLIENT_GONE" });
    await submit(platform, made.job);
    const messages = await finished(platform, requestId);
    expect(messages).toHaveLength(1);
    expect(failureOf(messages)).toMatchObject({ code: "CANCELLED", retryable: false });
    await expectAcknowledged();
  });

  test("by its deadline ends with DEADLINE_EXCEEDED, before or during the answer", async () => {
    const late = await request({ deadlineMs: -1 });
    await submit(platform, late.job);
    const refused = await finished(platform, late.job.requestId);
    expect(refused).toHaveLength(1);
    expect(failureOf(refused)).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const short = await request({ ...longAnswer, deadlineMs: 700 });
    await submit(platform, short.job);
    expect(failureOf(await finished(platform, short.job.requestId))).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("by a prompt that does not fit says CONTEXT_OVERFLOW", async () => {
    const made = await request({ text: "word ".repeat(4_000) });
    await submit(platform, made.job);
    expect(failureOf(await finished(platform, made.job.requestId))).toMatchObject({ code: "CONTEXT_OVERFLOW" });
  });

  test("by parameters out of range says REQUEST_INVALID", async () => {
    const made = await request({ parameters: { temperature: 9 } });
    await submit(platform, made.job);
    const messages = await finished(platform, made.job.requestId);
    expect(messages.map(({ body }) => body.case)).toEqual(["start", "failure"]);
    expect(failureOf(messages)).toMatchObject({ code: "REQUEST_INVALID" });
  });

  test("by a crash of its engine ends with ENGINE_CRASHED, and the next request is answered", async () => {
    const made = await request(longAnswer);
    await begin(made);
    process.kill(worker.enginePids()[0]!, "SIGKILL");
    const messages = await finished(platform, made.job.requestId);
    expect(failureOf(messages)).toMatchObject({ code: "ENGINE_CRASHED", retryable: true });
    const next = await request();
    await submit(platform, next.job);
    expect((await finished(platform, next.job.requestId)).at(-1)?.body.case).toBe("content");
  });

  test("by a hanging engine ends with ENGINE_TIMEOUT", async () => {
    const made = await request(longAnswer);
    await begin(made);
    process.kill(worker.enginePids()[0]!, "SIGSTOP");
    expect(failureOf(await finished(platform, made.job.requestId))).toMatchObject({ code: "ENGINE_TIMEOUT" });
    await engineReady(worker);
  });
});

describe("a bus that hangs for seconds mid-answer", () => {
  test("loses and doubles nothing", async () => {
    const made = await request(longAnswer);
    await begin(made);
    await platform.nats.pause();
    await waitFor("the worker to know nothing any more", () => !worker.context.manifest.fresh);
    await platform.nats.resume();
    const messages = await finished(platform, made.job.requestId, 30_000);
    const [first] = messages;
    const together = first?.body.case === "start" && first.body.value.content.length > 0 ? 1 : 0;
    expect(messages.map(({ index }) => index)).toEqual(messages.map((_, i) => (i === 0 ? 0 : i + together)));
    const contents = messages.slice(1).map((message) => contentOf(made, message));
    expect(contents.at(-1)?.usage?.completionTokens).toBe(3_500);
    expect(
      contents
        .map(({ text }) => text)
        .join("")
        .split(" ").length,
    ).toBeGreaterThan(1_000);
  }, 60_000);
});

async function expectAcknowledged(): Promise<void> {
  const nc = await platform.nats.admin();
  try {
    await waitFor("the job to be acknowledged", async () => {
      const reply = await nc.request("$JS.API.STREAM.INFO.JOBS");
      return reply.json<{ state: { messages: number } }>().state.messages === 0;
    });
  } finally {
    await nc.close();
  }
}

describe("what is switched off", () => {
  const pause = (model: string) => [{ id: "1", kind: "pause", target: { scope: "model", model } }];

  test("stops within a second in the middle of its answer, and is not begun while the switch holds", async () => {
    const made = await request(longAnswer);
    await begin(made);
    const began = performance.now();
    await platform.switchOff(pause(name));
    await waitFor("the stop", () => worker.context.runs.find(made.job.requestId, 1) === undefined, { everyMs: 2 });
    console.log(`a run stopped ${Math.round(performance.now() - began)} ms after the put began`);
    expect(performance.now() - began).toBeLessThan(1_000);
    const told = { code: stoppedBySwitch, retryable: true };
    expect(failureOf(await finished(platform, made.job.requestId))).toMatchObject(told);
    const next = await request();
    await submit(platform, next.job);
    const messages = await finished(platform, next.job.requestId);
    expect(failureOf(messages)).toMatchObject(told);
    expect(messages.some(({ body }) => body.case === "content")).toBe(false);
    await platform.switchOff(pause("another.model"));
    await waitFor("the resumption", () => !worker.context.switches.find(made.job));
    const last = await request();
    await submit(platform, last.job);
    expect((await finished(platform, last.job.requestId)).at(-1)?.body.case).toBe("content");
  });
});
