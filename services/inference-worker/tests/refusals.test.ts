import { generateKeyPairSync } from "node:crypto";
import { copyFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { createSigner, decodeStatement, seal, signStatement } from "@sallyport/attestation";
import { AdmissionSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { DeadLetterSchema, type Job, type WindowMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import { ChatContentSchema, Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ownConsumers, subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { modelPath } from "../src/core/model-file.ts";
import { type Platform, startPlatform } from "./fixtures/platform.ts";
import { approve, finished, makeRequest, submit, windowsOf } from "./fixtures/requests.ts";
import { makeStore, type TinyStore } from "./fixtures/tiny-engine.ts";
import { engineReady, startWorker, type TestWorker } from "./fixtures/worker.ts";

const name = "tiny";
let platform: Platform;
let store: TinyStore;
let worker: TestWorker | undefined;
beforeAll(async () => {
  platform = await startPlatform();
  store = makeStore({ contextTokens: 4_096 });
}, 60_000);
afterEach(async () => {
  await worker?.[Symbol.asyncDispose]();
  worker = undefined;
}, 30_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
  store?.[Symbol.dispose]();
});

const approveTiny = () => approve(platform, [{ name, digest: store.digest, contextTokens: 4_096 }]);
const request = (options: Partial<Parameters<typeof makeRequest>[1]> = {}) =>
  makeRequest(platform, { model: name, modelDigest: store.digest, parameters: { maxTokens: 20 }, ...options });
const failureOf = (messages: readonly WindowMessage[]) => messages.at(-1)!.body.value;

async function start(): Promise<TestWorker> {
  worker = await startWorker(platform, { MODEL_STORE_DIR: store.storeDir });
  return worker;
}

async function deadLetter(requestId: string) {
  return await waitFor("the dead letter", async () => {
    const replay = platform.governance.replay("DEAD", subjects.dead("JOBS", requestId), DeadLetterSchema);
    for await (const { message } of replay) return message;
    return undefined;
  });
}

test("a job that nobody admitted is never run: it ends as ADMISSION_INVALID and lies in DEAD", async () => {
  await approveTiny();
  await engineReady(await start());
  const stranger = generateKeyPairSync("ed25519").privateKey;
  const other = await request();
  const forgeries: [string, (job: Job) => Job | Promise<Job>][] = [
    ["without admission", (job) => ({ ...job, admission: undefined })],
    ["with another request's admission", (job) => ({ ...job, admission: other.job.admission })],
    ["with another request's secret", (job) => ({ ...job, secrets: other.job.secrets })],
    ["without a secret for the worker", (job) => ({ ...job, secrets: job.secrets.slice(1) })],
    ["of another tenant", (job) => ({ ...job, tenant: "globex" })],
    ["with another digest", (job) => ({ ...job, requestDigest: "00".repeat(32) })],
    ["with half a review", (job) => ({ ...job, admission: { ...job.admission!, review: job.admission!.door1 } })],
    [
      "with a broken prompt",
      (job) => {
        const prompt = Uint8Array.from(job.prompt);
        prompt[prompt.length - 1]! ^= 1;
        return { ...job, prompt };
      },
    ],
    [
      "signed by a stranger",
      (job) => {
        const statement = decodeStatement(job.admission!.door1!.payload);
        const door1 = signStatement(statement, createSigner(stranger, "door1"));
        return { ...job, admission: create(AdmissionSchema, { door1 }) };
      },
    ],
  ];
  for (const [what, forge] of forgeries) {
    const { job } = await request();
    await submit(platform, await forge(job));
    const messages = await finished(platform, job.requestId);
    expect(messages, what).toHaveLength(1);
    expect(failureOf(messages), what).toMatchObject({ code: "ADMISSION_INVALID", retryable: false });
    expect((await deadLetter(job.requestId)).reason, what).toBe("ADMISSION_INVALID");
  }
  // And a prompt that was swapped for another one, sealed with the right key.
  const swapped = await request();
  const { requestId } = swapped.job;
  const context = { requestId, kind: "prompt" as const, attempt: 0, index: 0 };
  const chat = create(ChatContentSchema, { model: name, messages: [{ role: Role.USER, content: "something else" }] });
  const prompt = seal(swapped.secret, context, toBinary(ChatContentSchema, chat));
  await submit(platform, { ...swapped.job, prompt });
  expect(failureOf(await finished(platform, requestId))).toMatchObject({ code: "ADMISSION_INVALID" });
  const control = await request();
  await submit(platform, control.job);
  expect((await finished(platform, control.job.requestId)).at(-1)?.body.case).toBe("content");
}, 60_000);

test("a request that was admitted for another model is not run on this one", async () => {
  await approveTiny();
  await engineReady(await start());
  const { job } = await request({ modelDigest: "12".repeat(32) });
  await submit(platform, { ...job, modelDigest: store.digest });
  expect(failureOf(await finished(platform, job.requestId))).toMatchObject({ code: "ADMISSION_INVALID" });
  const unknown = await request({ modelDigest: "12".repeat(32) });
  await submit(platform, unknown.job);
  expect(failureOf(await finished(platform, unknown.job.requestId))).toMatchObject({ code: "MODEL_NOT_APPROVED" });
}, 30_000);

test("a job that is delivered again is not run: ATTEMPT_LOST", async () => {
  await approveTiny();
  await engineReady(await start());
  await worker![Symbol.asyncDispose]();
  worker = undefined;
  const { job } = await request();
  await submit(platform, job);
  const nc = await platform.nats.admin();
  // A delivered message keeps its own subject, so the shared reply subscription would not know it.
  const pull = `$JS.API.CONSUMER.MSG.NEXT.JOBS.${ownConsumers.job(name).name}`;
  const first = await nc.request(pull, "1", { noMux: true, timeout: 5_000 });
  first.respond("-NAK");
  await nc.flush();
  await nc.close();
  await start();
  const messages = await finished(platform, job.requestId);
  expect(messages.map(({ body }) => body.case)).toEqual(["start", "failure"]);
  expect(failureOf(messages)).toMatchObject({ code: "ATTEMPT_LOST", retryable: true });
}, 30_000);

test("a malformed job goes to DEAD without a word to door 2", async () => {
  await approveTiny();
  await engineReady(await start());
  const { job } = await request();
  await submit(platform, { ...job, modelDigest: "no digest" });
  expect((await deadLetter(job.requestId)).reason).toBe("JOB_MALFORMED");
  expect(await windowsOf(platform, job.requestId)).toEqual([]);
}, 30_000);

describe("approval", () => {
  test("withdrawn mid-answer: the run ends with MODEL_NOT_APPROVED, the engine with it, and later jobs stay unrun", async () => {
    await approveTiny();
    const pid = await engineReady(await start());
    const running = await request({ parameters: { maxTokens: 3_500 } });
    await submit(platform, running.job);
    const { requestId } = running.job;
    await waitFor("the first windows", async () => (await windowsOf(platform, requestId)).length > 3);
    await approve(platform, []);
    const messages = await finished(platform, requestId);
    expect(failureOf(messages)).toMatchObject({ code: "MODEL_NOT_APPROVED", retryable: false });
    await waitFor("the engine to be gone", () => !alive(pid));
    const later = await request();
    await submit(platform, later.job);
    await waitFor("the worker to confirm its models again", () => worker!.context.manifest.fresh);
    expect(await windowsOf(platform, later.job.requestId)).toEqual([]);
    // Approved again, in a newer manifest: the waiting job is run.
    await approveTiny();
    await engineReady(worker!);
    expect((await finished(platform, later.job.requestId)).at(-1)?.body.case).toBe("content");
  }, 60_000);

  test("of a file that is another one loads nothing; of one that comes later loads it then", async () => {
    using other = makeStore({ seed: 2 });
    const digest = "34".repeat(32);
    copyFileSync(other.path, modelPath(store.storeDir, digest));
    await approve(platform, [
      { name: "false", digest },
      { name: "late", digest: other.digest },
    ]);
    await start();
    await waitFor("the refusal", () => worker!.logged.some((line) => line.includes("model cannot be loaded")));
    expect(worker!.enginePids()).toEqual([]);
    copyFileSync(other.path, modelPath(store.storeDir, other.digest));
    await engineReady(worker!);
    const { job } = await request({ model: "late", modelDigest: other.digest });
    await submit(platform, job);
    expect((await finished(platform, job.requestId)).at(-1)?.body.case).toBe("content");
  }, 30_000);
});

test("a worker that stops while its engine hangs says WORKER_STOPPING, and leaves no engine process", async () => {
  await approveTiny();
  const pid = await engineReady(await start());
  const { job } = await request({ parameters: { maxTokens: 4_000 } });
  await submit(platform, job);
  await waitFor("the first windows", async () => (await windowsOf(platform, job.requestId)).length > 3);
  process.kill(pid, "SIGSTOP");
  await worker![Symbol.asyncDispose]();
  worker = undefined;
  const messages = await windowsOf(platform, job.requestId);
  expect(failureOf(messages)).toMatchObject({ code: "WORKER_STOPPING", retryable: true });
  expect(alive(pid)).toBe(false);
}, 60_000);

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
