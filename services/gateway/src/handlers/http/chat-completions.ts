/** POST /v1/chat/completions, whole (JSON) and streamed (server-sent events). */
import { fromBinary } from "@bufbuild/protobuf";
import { type WindowContent, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { newTrace, parseTraceparent } from "@sallyport/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import type { RequestRow } from "../../db/ledger.ts";
import { type ChatBody, finishReason, parseChatBody, toContent, usage } from "../../domain/openai.ts";
import { errorOf } from "../../domain/views.ts";
import { type ChatEvent, chat } from "../chat.ts";
import { toHttpError } from "./errors.ts";
import { header, identify } from "./request.ts";

export async function handleChatCompletions(context: Context, request: FastifyRequest, reply: FastifyReply) {
  const identity = await identify(context, request);
  const body = parseChatBody(request.body);
  const gone = new AbortController();
  reply.raw.on("close", () => gone.abort());
  const events = chat(context, {
    identity,
    content: toContent(body),
    idempotencyKey: header(request, "idempotency-key"),
    clientReference: body.user ?? "",
    trace: newTrace(context.ids, parseTraceparent(header(request, "traceparent"))),
    signal: gone.signal,
  });
  // Refusals before acceptance are plain HTTP errors, also for a stream.
  const first = await events.next();
  const accepted = (first.value as { accepted: RequestRow }).accepted;
  reply.header("x-request-id", accepted.id);
  return body.stream ? stream(body, accepted, events, reply) : whole(accepted, events, reply);
}

async function whole(accepted: RequestRow, events: AsyncGenerator<ChatEvent>, reply: FastifyReply) {
  const windows: WindowContent[] = [];
  for await (const event of events) {
    if ("window" in event) windows.push(fromBinary(WindowContentSchema, event.window.content));
    if (!("outcome" in event)) continue;
    const error = errorOf(event.outcome);
    if (error) throw error;
    return reply.send(completion(event.outcome, windows));
  }
  // The caller is gone: nobody reads this.
  throw errorOf({ ...accepted, state: "cancelled", code: "CLIENT_GONE" })!;
}

function completion(row: RequestRow, windows: readonly WindowContent[]) {
  const last = windows.at(-1);
  const content = windows.map((window) => window.text).join("");
  return {
    id: `chatcmpl-${row.id}`,
    object: "chat.completion",
    created: seconds(row),
    model: row.model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content, refusal: null },
        logprobs: null,
        finish_reason: finishReason(last?.finishReason ?? 1),
      },
    ],
    usage: usage(last),
    sallyport: extension(row, windows),
  };
}

async function stream(body: ChatBody, accepted: RequestRow, events: AsyncGenerator<ChatEvent>, reply: FastifyReply) {
  const base = {
    id: `chatcmpl-${accepted.id}`,
    object: "chat.completion.chunk",
    created: seconds(accepted),
    model: accepted.model,
  };
  const chunk = (delta: object, reason: string | null, more: object = {}) => ({
    ...base,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }],
    ...more,
  });
  const windows: WindowContent[] = [];
  reply.hijack();
  const { raw } = reply;
  const send = (value: unknown) => write(raw, `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  raw.writeHead(200, {
    ...reply.getHeaders(),
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  } as Record<string, string>);
  await send(chunk({ role: "assistant", content: "" }, null));
  try {
    for await (const event of events) {
      if ("window" in event) {
        const window = fromBinary(WindowContentSchema, event.window.content);
        windows.push(window);
        if (window.text) await send(chunk({ content: window.text }, null));
      } else if ("outcome" in event) {
        const error = errorOf(event.outcome);
        if (error) await send(toHttpError(error).body);
        else
          await send(
            chunk({}, finishReason(windows.at(-1)?.finishReason ?? 1), {
              sallyport: extension(event.outcome, windows),
            }),
          );
        if (!error && body.stream_options?.include_usage)
          await send({ ...base, choices: [], usage: usage(windows.at(-1)) });
        if (!error) await send("[DONE]");
      }
    }
  } catch (error) {
    await send(toHttpError(error).body);
  } finally {
    raw.end();
  }
}

/** Waits while the caller reads slower than the model writes. */
async function write(raw: FastifyReply["raw"], text: string): Promise<void> {
  if (raw.destroyed || raw.write(text)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      raw.off("drain", done);
      raw.off("close", done);
      resolve();
    };
    raw.on("drain", done);
    raw.on("close", done);
  });
}

function extension(row: RequestRow, windows: readonly WindowContent[]) {
  return {
    request_id: row.id,
    state: row.state,
    model_digest: row.modelDigest,
    policy_digest: row.policyDigest,
    leaf_hash: row.leafHash,
    sanitised: windows.some((window) => window.sanitised),
  };
}

function seconds(row: RequestRow): number {
  return Math.floor(row.createdAt.getTime() / 1_000);
}
