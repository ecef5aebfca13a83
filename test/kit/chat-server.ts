/** An OpenAI-compatible model server such as stands in the chamber beside the worker: streams what it was told to say. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ChatServer extends AsyncDisposable {
  /** Base URL, as the worker's REMOTE_ENDPOINTS has it. */
  readonly url: string;
  /** The last message of each request, in order. */
  readonly heard: readonly string[];
  /** A word every so many milliseconds (default: all at once). */
  say(text: string, everyMs?: number): void;
}

export async function startChatServer(): Promise<ChatServer> {
  const heard: string[] = [];
  let reply = "";
  let pauseMs = 0;
  const server = createServer((request, response) => {
    const body: Buffer[] = [];
    request.on("data", (bytes: Buffer) => body.push(bytes));
    request.on("end", () => {
      if (request.url === "/v1/models") {
        response.writeHead(200, { "content-type": "application/json" });
        return response.end(JSON.stringify({ object: "list", data: [{ id: "any", object: "model" }] }));
      }
      heard.push(JSON.parse(Buffer.concat(body).toString()).messages.at(-1).content);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = (delta: object, finish: string | null) =>
        response.write(
          `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`,
        );
      const words = reply.match(/\S+\s*/g) ?? [];
      const finish = () => {
        chunk({}, "stop");
        response.end("data: [DONE]\n\n");
      };
      if (pauseMs === 0) {
        for (const word of words) chunk({ content: word }, null);
        return finish();
      }
      const timer = setInterval(() => {
        const word = words.shift();
        if (word !== undefined) return chunk({ content: word }, null);
        clearInterval(timer);
        finish();
      }, pauseMs);
      response.on("close", () => clearInterval(timer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    say(text, everyMs = 0) {
      [reply, pauseMs] = [text, everyMs];
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
