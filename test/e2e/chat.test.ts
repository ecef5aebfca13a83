import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { decodeEnvelopeJson, loadTrustBundle, verifyReleaseTicket } from "@sallyport/attestation";
import { RequestState } from "@sallyport/proto/sallyport/generation/v1/generation";
import { waitFor } from "@sallyport/runtime/testing";
import { leafHash, parseVkey, verifyProof } from "@sallyport/tlog";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, brake, chatByGrpc, grpcClients, model, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
beforeAll(async () => {
  sallyport = await bootPlatform("chat");
  clients = grpcClients(sallyport.platform);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

const question = [{ role: "user" as const, content: "What is Sallyport?" }];

describe("an allowed chat", () => {
  test("the unmodified OpenAI SDK gets a whole answer from the real model", async () => {
    const answer = await sallyport
      .openai()
      .chat.completions.create({ model, messages: question, temperature: 0, max_tokens: 80 });
    expect(answer.choices[0]?.message.content).toMatch(/\w+ \w+/);
    expect(answer.choices[0]?.finish_reason).toMatch(/stop|length/);
    expect(answer.usage!.completion_tokens).toBeGreaterThan(3);
  });

  test("streams by server-sent events, piece by piece, and the same seed gives the same text", async () => {
    const once = async () => {
      const stream = await sallyport.openai().chat.completions.create({
        model,
        messages: [{ role: "user", content: "Tell me a long story about the sea." }],
        stream: true,
        seed: 7,
        temperature: 0.7,
        max_tokens: 120,
        stream_options: { include_usage: true },
      });
      const pieces: string[] = [];
      let usage = 0;
      for await (const chunk of stream) {
        const text = chunk.choices[0]?.delta.content;
        if (text) pieces.push(text);
        usage += chunk.usage?.completion_tokens ?? 0;
      }
      return { pieces, usage };
    };
    const [first, second] = [await once(), await once()];
    expect(first.pieces.length).toBeGreaterThan(2);
    expect(first.usage).toBeGreaterThan(20);
    expect(second.pieces.join("")).toBe(first.pieces.join(""));
  });

  test("a plain grpc-js client works from the proto file alone", async () => {
    const root = fileURLToPath(new URL("../../proto", import.meta.url));
    const definition = loadSync("sallyport/generation/v1/generation.proto", {
      includeDirs: [root],
      enums: String,
      longs: Number,
    });
    // biome-ignore lint/suspicious/noExplicitAny: what a caller without generated code has.
    const { GenerationService } = (loadPackageDefinition(definition) as any).sallyport.generation.v1;
    const { gatewayGrpc, ca } = sallyport.platform.endpoints;
    const client = new GenerationService(gatewayGrpc, credentials.createSsl(readFileSync(ca)));
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${sallyport.token("user")}`);
    const call = client.Chat({ content: { model, messages: [{ role: "ROLE_USER", content: "Hello" }] } }, metadata, {
      deadline: Date.now() + 60_000,
    });
    const events: string[] = [];
    for await (const message of call)
      events.push(Object.keys(message).find((key) => ["accepted", "window", "outcome"].includes(key))!);
    client.close();
    expect(events[0]).toBe("accepted");
    expect(events.filter((event) => event === "window").length).toBeGreaterThan(0);
    expect(events.at(-1)).toBe("outcome");
  });

  test("its ticket and its receipt verify offline, against nothing but the trust bundle", async () => {
    const bearer = sallyport.token("user");
    const answer = await sallyport.openai().chat.completions.create({ model, messages: question, max_tokens: 60 });
    const { request_id: requestId, leaf_hash: promised } = (
      answer as unknown as { sallyport: { request_id: string; leaf_hash: string } }
    ).sallyport;
    const request = await clients.generation.getRequest({ requestId }, { bearer, deadlineMs: 10_000 });
    expect(request.outcome?.state).toBe(RequestState.RELEASED);
    expect(request.output.map(({ text }) => text).join("")).toBe(answer.choices[0]?.message.content);

    const { endpoints } = sallyport.platform;
    const trust = loadTrustBundle(
      readFileSync(endpoints.trustBundle),
      createPublicKey(readFileSync(endpoints.trustRoot)),
      new Date(),
    );
    const report = verifyReleaseTicket(new TextDecoder().decode(request.ticket), trust);
    expect(report.outcome).toBe("complete");

    const log = { origin: trust.logs[0]!.origin, keys: trust.logs.map(({ vkey }) => parseVkey(vkey)) };
    const receipt = await waitFor(
      "the receipt",
      () => clients.generation.getReceipt({ requestId }, { bearer, deadlineMs: 5_000 }).catch(() => undefined),
      { timeoutMs: 10_000 },
    );
    expect(Buffer.from(leafHash(receipt!.record)).toString("hex")).toBe(promised);
    expect(() => verifyProof(receipt!.proof, leafHash(receipt!.record), log)).not.toThrow();
    const record = JSON.parse(new TextDecoder().decode(receipt!.record)) as {
      event: string;
      request: { id: string };
      attestations: unknown[];
    };
    expect(record).toMatchObject({ event: "request.released", request: { id: requestId } });
    expect(record.attestations.map((entry) => decodeEnvelopeJson(JSON.stringify(entry)).payloadType)).toHaveLength(3);
    const other = new TextEncoder().encode(JSON.stringify({ ...record, event: "request.blocked" }));
    expect(() => verifyProof(receipt!.proof, leafHash(other), log)).toThrow();
  });

  test("an idempotency key brings the first outcome back, and refuses other content", async () => {
    const body = { model, messages: question, max_tokens: 40, temperature: 1 };
    const headers = { "idempotency-key": `tour-${Date.now()}` };
    const ask = async (change = {}) =>
      (await sallyport.http("/v1/chat/completions", { body: { ...body, ...change }, headers })).json();
    const [first, again] = [await ask(), await ask()];
    expect(again).toEqual(first);
    expect(await ask({ max_tokens: 41 })).toMatchObject({ error: { code: "idempotency_key_reused" } });
  });

  test("stop sequences and token limits are honoured", async () => {
    const limited = await sallyport.openai().chat.completions.create({
      model,
      messages: [{ role: "user", content: "Tell me a long story about the sea." }],
      max_tokens: 5,
      temperature: 0,
    });
    expect(limited.choices[0]?.finish_reason).toBe("length");
    const full = await sallyport.openai().chat.completions.create({ model, messages: question, temperature: 0 });
    const word = full.choices[0]!.message.content!.split(" ")[3]!;
    const stopped = await sallyport
      .openai()
      .chat.completions.create({ model, messages: question, temperature: 0, stop: word });
    expect(stopped.choices[0]!.message.content).not.toContain(word);
  });

  test("a caller cancels it in its middle: the stream ends as cancelled, and asking again changes nothing", async () => {
    const letGo = brake(sallyport.platform.service("inference-worker").pid!);
    const story = { content: "Tell me a long story about the sea." };
    const call = chatByGrpc(sallyport, clients, story, { deadlineMs: 60_000 });
    await call.firstWindow().finally(letGo);
    const cancel = () =>
      clients.generation.cancelRequest(
        { requestId: call.requestId! },
        { bearer: sallyport.token("user"), deadlineMs: 10_000 },
      );
    expect((await cancel()).outcome?.state).toBe(RequestState.CANCELLED);
    await call.done;
    expect(call.error?.reason ?? call.state).toMatch(/cancelled/i);
    expect((await cancel()).outcome?.state).toBe(RequestState.CANCELLED);
  });

  test("somebody else's request is not found, whoever asks", async () => {
    const answer = await sallyport.openai().chat.completions.create({ model, messages: question, max_tokens: 5 });
    const { request_id } = (answer as unknown as { sallyport: { request_id: string } }).sallyport;
    for (const person of ["outsider", "reviewer"] as const) {
      const response = await sallyport.http(`/v1/requests/${request_id}`, { method: "GET", person });
      expect([403, 404]).toContain(response.status);
    }
  });
});

test("what may be asked is listed alike by OpenAI's API and by gRPC", async () => {
  const listed = await sallyport.openai().models.list();
  const call = { bearer: sallyport.token("user"), deadlineMs: 10_000 };
  const { models } = await clients.generation.listModels({}, call);
  expect(models.map(({ name }) => name)).toContain(model);
  expect(listed.data.map(({ id }) => id)).toEqual(models.map(({ name }) => name));
});

test("texts are judged without a model, one by one, in OpenAI's fields and ours", async () => {
  const input = ["Good morning", "Please repeat SALLYPORT-BLOCK-ME for me"];
  const { results } = await sallyport.openai().moderations.create({ input });
  expect(results.map(({ flagged }) => flagged)).toEqual([false, true]);
  const ours = results.map((result) => (result as unknown as { sallyport: Record<string, unknown> }).sallyport);
  expect(ours).toMatchObject([
    { decision: "allow", findings: [] },
    { decision: "deny", findings: [{ code: "TEST_BLOCK" }] },
  ]);
  for (const { policy_digest, scores } of ours) {
    expect(policy_digest).toMatch(/^[0-9a-f]{64}$/);
    expect(scores).toBeTypeOf("object");
  }
  const asImage = await sallyport.http("/v1/moderations", { body: { input, modality: "image_prompt" } });
  expect(asImage.status).toBe(200);
  expect(await asImage.json()).toMatchObject({ results: [{ flagged: false }, { flagged: true }] });
  const unknown = await sallyport.http("/v1/moderations", { body: { input, modality: "smell" } });
  expect(unknown.status).toBe(400);
});
