/** A model in the chamber that takes its time, so that what is tested hits the middle of an answer. */
import { waitFor } from "@sallyport/runtime/testing";
import { chatByGrpc } from "./caller.ts";
import { type ChatServer, startChatServer } from "./chat-server.ts";
import type { grpcClients } from "./clients.ts";
import type { TestPlatform } from "./index.ts";

export const slowModel = "served";
export const slowStory = { content: "Tell me a long story about the sea.", maxTokens: 4_000, model: slowModel };

const story = "The tide comes in and goes out again. ".repeat(100);
const wordEveryMs = 25;

/** Its server: boot the platform with `remoteEndpoints: { [slowModel]: server.url }`. */
export async function startSlowServer(): Promise<ChatServer> {
  const server = await startChatServer();
  server.say(story, wordEveryMs);
  return server;
}

/** Has it imported and approved, and waits for its first words. */
export async function serveSlowModel(
  sallyport: TestPlatform,
  clients: Pick<ReturnType<typeof grpcClients>, "models" | "generation">,
): Promise<void> {
  const as = (person: "operator" | "approver") => ({ bearer: sallyport.token(person), deadlineMs: 10_000 });
  const facts = { version: "1", engine: "remote", digest: "5".repeat(64), licence: "Apache-2.0", tier: "standard" };
  const remote = { name: slowModel, remoteEndpoint: slowModel, remoteModel: "any" };
  const value = { ...facts, ...remote, contextTokens: 4_096, card: "A test's model." };
  const { model } = await clients.models.importModel([{ part: { case: "metadata", value } }], as("operator"));
  const justification = "Tried on our own questions; licence checked.";
  await clients.models.approveModel({ digest: model!.digest, justification }, as("approver"));
  await waitFor("the first words", () => begins(sallyport, clients), { timeoutMs: 30_000 });
}

async function begins(...[sallyport, clients]: Parameters<typeof serveSlowModel>): Promise<boolean> {
  const gone = new AbortController();
  const call = chatByGrpc(sallyport, clients, slowStory, { deadlineMs: 3_000, signal: gone.signal });
  await waitFor("an answer", () => call.ended || call.windows.length > 0, { everyMs: 5 });
  gone.abort();
  return call.windows.length > 0;
}
