/**
 * A model server that thinks of nothing: answers OpenAI chat completions, streamed or whole, with a fixed number of tokens.
 * A process of its own, ended with its parent. Arguments: tokens, milliseconds between two of them.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const [tokens = 24, delayMs = 0] = process.argv.slice(2).map(Number);
const sentence = [
  "Bread",
  " is",
  " made",
  " of",
  " flour,",
  " water",
  " and",
  " salt,",
  " and",
  " it",
  " is",
  " baked.",
];
const words = Array.from({ length: tokens }, (_, index) => {
  const word = sentence[index % sentence.length]!;
  return index > 0 && index % sentence.length === 0 ? ` ${word}` : word;
});
const usage = { prompt_tokens: 12, completion_tokens: tokens, total_tokens: 12 + tokens };
const about = { id: "chatcmpl-bench", created: 1_700_000_000, model: "bench" };

const whole = JSON.stringify({
  ...about,
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: words.join("") }, finish_reason: "stop" }],
  usage,
});
const event = (choices: object[], more: object = {}) =>
  `data: ${JSON.stringify({ ...about, object: "chat.completion.chunk", choices, ...more })}\n\n`;
const delta = (content: string) => event([{ index: 0, delta: { content }, finish_reason: null }]);
const streamed = words.map(delta);
const ending = `${event([{ index: 0, delta: {}, finish_reason: "stop" }])}${event([], { usage })}data: [DONE]\n\n`;

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    if (request.method === "GET") return json(response, JSON.stringify({ object: "list", data: [{ id: "bench" }] }));
    const { stream } = JSON.parse(Buffer.concat(parts).toString()) as { stream?: boolean };
    void (stream ? speak(response) : answer(response));
  });
});
server.keepAliveTimeout = 60_000;
server.on("connection", (socket) => socket.setNoDelay(true));

function json(response: ServerResponse, body: string): void {
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) }).end(body);
}

async function answer(response: ServerResponse): Promise<void> {
  if (delayMs > 0) await wait(delayMs * tokens);
  json(response, whole);
}

async function speak(response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (delayMs === 0) return void response.end(streamed.join("") + ending);
  for (const part of streamed) {
    response.write(part);
    await wait(delayMs);
  }
  response.end(ending);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.on("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1", () => {
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
