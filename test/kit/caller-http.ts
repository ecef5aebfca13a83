/** Callers of the OpenAI-compatible API: streaming by server-sent events, with tickets where asked for, and whole. */
import { fromJson } from "@bufbuild/protobuf";
import { WindowSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import { type Ask, Call, type CallOptions, chatModel, type HeardWindow } from "./caller.ts";
import type { TestPlatform } from "./index.ts";

export interface SseAsk extends Ask {
  /** Asks for each window's exact bytes and ticket beside its text. */
  ticketed?: boolean;
}

export function chatBySse(sallyport: TestPlatform, ask: SseAsk, options: CallOptions): Call {
  return new Call("sse", async (call) => {
    const response = await post(sallyport, call, { ...ask, stream: true }, options);
    let unread = "";
    const decoder = new TextDecoder();
    for await (const bytes of response.body!) {
      const events = (unread + decoder.decode(bytes, { stream: true })).split("\n\n");
      unread = events.pop()!;
      for (const event of events) hear(call, event.replace(/^data: /, ""));
    }
    if (!call.state) throw new AppError("INTERNAL", "the stream ended without an outcome", { reason: "NO_OUTCOME" });
  });
}

export function chatByHttp(sallyport: TestPlatform, ask: Ask, options: CallOptions): Call {
  return new Call("http", async (call) => {
    const response = await post(sallyport, call, { ...ask, stream: false }, options);
    const { choices, sallyport: told } = (await response.json()) as Whole;
    call.hear({ text: choices[0]!.message.content });
    call.conclude(stateOf(told), told.leaf_hash);
  });
}

type Asked = SseAsk & { stream: boolean };

/** Throws the platform's own error where it refuses. */
async function post(sallyport: TestPlatform, call: Call, asked: Asked, options: CallOptions): Promise<Response> {
  const { content, maxTokens, idempotencyKey = "", person = "user", ticketed, stream, model = chatModel } = asked;
  const { deadlineMs, signal } = options;
  const bounded = AbortSignal.any([AbortSignal.timeout(deadlineMs), ...(signal ? [signal] : [])]);
  const messages = [{ role: "user", content }];
  const response = await fetch(`${sallyport.platform.endpoints.gatewayHttp}/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${sallyport.token(person)}`,
      "content-type": "application/json",
      ...(idempotencyKey !== "" && { "idempotency-key": idempotencyKey }),
      ...(ticketed && { "x-sallyport-tickets": "windows" }),
    },
    body: JSON.stringify({ model, messages, stream, temperature: 0, max_tokens: maxTokens }),
    signal: bounded,
  });
  call.requestId = response.headers.get("x-request-id") ?? undefined;
  if (call.requestId !== undefined) call.events.push("accepted");
  if (!response.ok) throw publicError(((await response.json()) as { error: PublicError }).error);
  return response;
}

interface PublicError {
  code: string;
  message: string;
}
interface Told {
  state: string;
  leaf_hash: string;
}
interface Chunk {
  error?: PublicError;
  choices?: { delta?: { content?: string } }[];
  sallyport?: Told | { window: Parameters<typeof fromJson>[1] };
}
interface Whole {
  choices: { message: { content: string } }[];
  sallyport: Told;
}

function hear(call: Call, data: string): void {
  if (data === "[DONE]") return;
  const { error, choices, sallyport } = JSON.parse(data) as Chunk;
  if (error) throw publicError(error);
  const text = choices?.[0]?.delta?.content;
  const exact = sallyport && "window" in sallyport ? exactly(sallyport.window) : undefined;
  if (text || exact) call.hear({ text: text ?? "", ...(exact && { exact }) });
  if (sallyport && "state" in sallyport) call.conclude(stateOf(sallyport), sallyport.leaf_hash);
}

function exactly(json: Parameters<typeof fromJson>[1]): HeardWindow["exact"] {
  const { attempt, index, content, ticket } = fromJson(WindowSchema, json);
  return { attempt, index, content, ticket: ticket! };
}

const stateOf = ({ state }: Told) => state.replace("REQUEST_STATE_", "").toLowerCase();

/** OpenAI's error object carries our reason code. */
function publicError({ code, message }: PublicError): AppError {
  return new AppError("UNAVAILABLE", message, { reason: code });
}
