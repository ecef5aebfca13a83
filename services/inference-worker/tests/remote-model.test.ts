import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { fromBinary } from "@bufbuild/protobuf";
import { open } from "@sallyport/attestation";
import type { WindowMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Platform, startPlatform } from "./fixtures/platform.ts";
import { approve, finished, makeRequest, submit, type TestRequest, windowsOf } from "./fixtures/requests.ts";
import { startWorker, type TestWorker } from "./fixtures/worker.ts";

const digest = "56".repeat(32);
let platform: Platform;
let server: Server;
let worker: TestWorker;
let answer: (response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    for await (const _ of request);
    if (request.url === "/base/v1/models") response.end(JSON.stringify({ data: [{ id: "big" }] }));
    else if (request.url === "/base/v1/chat/completions")
      answer(response.writeHead(200, { "content-type": "text/event-stream" }));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  platform = await startPlatform();
  const remote = { engine: "remote", remoteEndpoint: "vllm", remoteModel: "big" };
  await approve(platform, [{ name: "far", digest, ...remote }]);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/base`;
  const REMOTE_ENDPOINTS = JSON.stringify({ vllm: url });
  worker = await startWorker(platform, { MODEL_STORE_DIR: tmpdir(), REMOTE_ENDPOINTS });
  await waitFor("the model server's model", () => worker.engines[0]?.ready);
});
afterAll(async () => {
  await worker?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
  server?.closeAllConnections();
  server?.close();
});

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const delta = (content: string) => event({ choices: [{ delta: { content } }] });

/** The windows' texts, one after the other, the one that came with the start included. */
function textOf({ job, secret }: TestRequest, messages: readonly WindowMessage[]): string {
  const read = (sealed: Uint8Array, index: number, attempt: number) => {
    const place = { requestId: job.requestId, kind: "window" as const, attempt, index };
    return fromBinary(WindowContentSchema, open(secret, place, sealed)).text;
  };
  return messages
    .map(({ body, index, attempt }) => {
      if (body.case === "content") return read(body.value, index, attempt);
      return body.case === "start" && body.value.content.length > 0 ? read(body.value.content, 1, attempt) : "";
    })
    .join("");
}

test("a model of a server in the chamber is answered through the same windows", async () => {
  answer = (response) =>
    response.end(`${delta("One. ")}${delta("Two.")}${event({ choices: [{ delta: {}, finish_reason: "stop" }] })}`);
  const made = await makeRequest(platform, { model: "far", modelDigest: digest });
  await submit(platform, made.job);
  expect(textOf(made, await finished(platform, made.job.requestId))).toBe("One. Two.");
});

test("a model that takes its time has its start told before it speaks", async () => {
  const first = Promise.withResolvers<void>();
  answer = (response) => {
    void first.promise.then(() =>
      response.end(`${delta("One.")}${event({ choices: [{ delta: {}, finish_reason: "stop" }] })}`),
    );
  };
  const made = await makeRequest(platform, { model: "far", modelDigest: digest });
  await submit(platform, made.job);
  const { requestId } = made.job;
  await waitFor("the start", async () => (await windowsOf(platform, requestId)).length === 1);
  first.resolve();
  const messages = await finished(platform, requestId);
  expect(messages.map(({ body, index }) => [body.case, index])).toEqual([
    ["start", 0],
    ["content", 1],
  ]);
  expect(textOf(made, messages)).toBe("One.");
});

test("a server that breaks off fails the attempt, and may be asked again", async () => {
  answer = (response) => response.write(delta("One. Two."), () => response.destroy());
  const { job } = await makeRequest(platform, { model: "far", modelDigest: digest });
  await submit(platform, job);
  const { body } = (await finished(platform, job.requestId)).at(-1)!;
  expect(body.value).toMatchObject({ code: "ENGINE_CRASHED", retryable: true });
});
