// A small chat for the terminal: every window is verified before it is shown, every answer's receipt before the next question.
//   node packages/client/examples/chat.ts ["question"]      one question, or line by line from the terminal; empty line ends it
// SALLYPORT_HOME: the platform's home (default .sallyport). SALLYPORT_ADDRESS: another address, https://… for HTTP.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { type ChatMessage, createClient, SallyportError } from "@sallyport/client";

const home = process.env.SALLYPORT_HOME ?? ".sallyport";
const endpoints = JSON.parse(readFileSync(join(home, "endpoints.json"), "utf8"));
using client = createClient({
  address: process.env.SALLYPORT_ADDRESS ?? endpoints.gatewayGrpc,
  token: () => readFileSync(join(home, "credentials", "user.token"), "utf8"),
  tls: { ca: endpoints.ca },
  verify: { trustBundle: endpoints.trustBundle, trustRoot: endpoints.trustRoot },
});
const model = (await client.listModels())[0]?.name ?? "";
const messages: ChatMessage[] = [];

async function ask(question: string): Promise<void> {
  messages.push({ role: "user", content: question });
  try {
    const stream = client.stream({ model, messages });
    for await (const { text } of stream) process.stdout.write(shown(text));
    const result = await stream.result();
    messages.push({ role: "assistant", content: result.text });
    const { index, checkpoint } = await client.receipt(result);
    console.error(`\n  verified: record ${index} of ${checkpoint.size} in ${checkpoint.origin}`);
  } catch (error) {
    messages.pop();
    if (!(error instanceof SallyportError)) throw error;
    console.error(`\n  ${error.reason}: ${error.message}\n  ${error.whatToDo}`);
    process.exitCode = 1;
  }
}

/** A model's control characters could move the cursor or answer in the reader's place. */
function shown(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu, "\ufffd");
}

const question = process.argv[2];
if (question !== undefined) await ask(question);
else {
  const terminal = createInterface({ input: process.stdin, output: process.stderr, prompt: "> " });
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() === "") break;
    await ask(line);
    terminal.prompt();
  }
  terminal.close();
}
