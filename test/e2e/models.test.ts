import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ModelState } from "@sallyport/proto/sallyport/governance/v1/models";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ChatServer, startChatServer } from "../kit/chat-server.ts";
import { bootPlatform, grpcClients, type TestPlatform } from "../kit/index.ts";

let chamber: ChatServer;
let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
beforeAll(async () => {
  chamber = await startChatServer();
  sallyport = await bootPlatform("models", { remoteEndpoints: { served: chamber.url } });
  clients = grpcClients(sallyport.platform);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await chamber?.[Symbol.asyncDispose]();
}, 60_000);

const as = (person: "operator" | "approver" | "user") => ({ bearer: sallyport.token(person), deadlineMs: 60_000 });
const justification = "Tried on our own questions; licence checked.";

/** The pilot's weights under another name, one byte of padding apart, so that its digest is new. */
function anotherModel(): Uint8Array {
  const folder = new URL("../../models/pilot-text/", import.meta.url);
  const { file } = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as { file: string };
  return new Uint8Array(Buffer.concat([readFileSync(new URL(file, folder)), Buffer.alloc(32)]));
}

async function importFile(name: string, bytes: Uint8Array, digest = "") {
  const metadata = {
    name,
    version: "1",
    engine: "llama",
    digest,
    licence: "Apache-2.0",
    tier: "standard",
    contextTokens: 512,
    card: "A test's model.",
  };
  const chunks = [{ part: { case: "metadata" as const, value: metadata } }];
  const parts = [...chunks, ...slices(bytes).map((chunk) => ({ part: { case: "chunk" as const, value: chunk } }))];
  return (await clients.models.importModel(parts, as("operator"))).model!;
}

function slices(bytes: Uint8Array): Uint8Array[] {
  const size = 512 * 1024;
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

const ask = (model: string) =>
  sallyport.openai().chat.completions.create({
    model,
    messages: [{ role: "user", content: "What is bread?" }],
    temperature: 0,
    max_tokens: 40,
  });
const codeOf = (error: unknown) => (error as { code?: string }).code;

describe("only approved models run", () => {
  test("a model is asked only after a second person approved it, and never again once revoked", async () => {
    const bytes = anotherModel();
    const { digest, state } = await importFile("second", bytes);
    expect(digest).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(state).toBe(ModelState.IMPORTED);
    expect(await ask("second").catch(codeOf)).toBe("model_not_found");
    await expect(clients.models.approveModel({ digest, justification }, as("operator"))).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await expect(clients.models.approveModel({ digest, justification }, as("user"))).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await clients.models.approveModel({ digest, justification }, as("approver"));
    const answer = await waitFor("the new model's answer", () => ask("second").catch(() => undefined), {
      timeoutMs: 60_000,
    });
    expect(answer!.choices[0]?.message.content).toMatch(/\w+/);

    await clients.models.revokeModel({ digest, justification }, as("operator"));
    await waitFor(
      "the revocation in force",
      async () => (await ask("second").catch(codeOf)) === "model_not_found" || undefined,
      { timeoutMs: 10_000 },
    );
    await expect(clients.models.approveModel({ digest, justification }, as("approver"))).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
    await expect(importFile("again", bytes)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  }, 120_000);

  test("a file that is no model, or not the announced one, is refused", async () => {
    await expect(importFile("junk", new TextEncoder().encode("not a model".repeat(100)))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(importFile("swapped", anotherModel(), "0".repeat(64))).rejects.toMatchObject({
      code: expect.stringMatching(/INVALID_ARGUMENT|FAILED_PRECONDITION/),
    });
  });
});

describe("a model server inside the chamber", () => {
  test("its output passes door 2 like any other", async () => {
    const metadata = {
      name: "served",
      version: "1",
      engine: "remote",
      digest: "5".repeat(64),
      licence: "Apache-2.0",
      tier: "standard",
      contextTokens: 4096,
      card: "A test's model.",
      remoteEndpoint: "served",
      remoteModel: "any",
    };
    const { model } = await clients.models.importModel(
      [{ part: { case: "metadata", value: metadata } }],
      as("operator"),
    );
    await clients.models.approveModel({ digest: model!.digest, justification }, as("approver"));
    chamber.say("Bread is flour and water. It is baked in an oven. See http://elsewhere.example/more for the rest.");
    const answer = await waitFor("the served model's answer", () => ask("served").catch(() => undefined), {
      timeoutMs: 30_000,
    });
    expect(answer!.choices[0]?.message.content).toBe(
      "Bread is flour and water. It is baked in an oven. See [link removed] for the rest.",
    );
    chamber.say("All is well so far. Now comes SALLYPORT-BLOCK-ME and then more.");
    expect(await ask("served").catch(codeOf)).toBe("TEST_BLOCK");
  }, 120_000);
});
