/** POST /v1/chat/completions, whole (JSON) and streamed (server-sent events). */
import { create, fromBinary, toJson } from "@bufbuild/protobuf";
import {
  type WindowContent,
  WindowContentSchema,
  WindowSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, currentTrace, newTrace } from "@sallyport/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../context.ts";
import type { RequestRow } from "../../db/ledger.ts";
import { type ChatBody, finishReason, parseChatBody, toContent, usage } from "../../domain/openai.ts";
import { outcomes } from "../../domain/outcomes.ts";
import { errorOf } from "../../domain/views.ts";
import { type ChatEvent, chat } from "../chat.ts";
import { toHttpError } from "./errors.ts";
import { header, identify } from "./request.ts";

export async function handleChatCompletions(context: Context, request: FastifyRequest, reply: FastifyReply) {
  const gone = new AbortController();
  reply.raw.on("close", () => gone.abort(new AppError("CANCELLED", outcomes.CLIENT_GONE, { reason: "CLIENT_GONE" })));
  const identity = await identify(context, request);
  const body = parseChatBody(request.body);
  const events = chat(context, {
    identity,
    content: toContent(body),
    idempotencyKey: header(request, "idempotency-key"),
    clientReference: body.user ?? "",
    trace: currentTrace() ?? newTrace(context.ids),
    signal: gone.signal,
  });
  // Refusals before acceptance are plain HTTP errors, also for a stream.
  const first = await events.next();
  const { accepted, quota } = first.value as Extract<ChatEvent, { accepted: RequestRow }>;
  reply.header("x-request-id", accepted.id).headers(quota);
  if (!body.stream) return whole(accepted, events, reply);
  const ticketed = header(request, ticketsHeader) === "windows";
  return stream({ body, accepted, ticketed }, errorOf(accepted) ? await unlessOver(events) : events, reply);
}

/** `x-sallyport-tickets: windows`: a stream's chunks also carry each window's exact bytes and ticket, as gRPC's Window has them. */
const ticketsHeader = "x-sallyport-tickets";

interface Streamed {
  readonly body: ChatBody;
  readonly accepted: RequestRow;
  readonly ticketed: boolean;
}

/** What is over already needs no stream: its error is a plain one too. */
async function unlessOver(events: AsyncGenerator<ChatEvent>): Promise<AsyncIterable<ChatEvent>> {
  const { value: first } = await events.next();
  const refused = first && "outcome" in first ? errorOf(first.outcome) : undefined;
  if (!refused) return first ? prepend(first, events) : events;
  await events.return(undefined);
  throw refused;
}

async function* prepend<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
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

async function stream({ body, accepted, ticketed }: Streamed, events: AsyncIterable<ChatEvent>, reply: FastifyReply) {
  const { id, model } = accepted;
  const base = { id: `chatcmpl-${id}`, object: "chat.completion.chunk", created: seconds(accepted), model };
  const chunk = (delta: object, finish_reason: string | null, more: object = {}) => ({
    ...base,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...more,
  });
  const windows: WindowContent[] = [];
  const { raw } = reply;
  // JSON has no raw line break, so nothing that a model wrote can end an event or begin another.
  const send = (value: object) => write(raw, `data: ${JSON.stringify(value)}\n\n`);
  const finish = async ({ outcome }: { outcome: RequestRow }) => {
    const error = errorOf(outcome);
    if (error) return send(toHttpError(error).body);
    const last = windows.at(-1);
    await send(chunk({}, finishReason(last?.finishReason ?? 1), { sallyport: extension(outcome, windows) }));
    if (body.stream_options?.include_usage) await send({ ...base, choices: [], usage: usage(last) });
    await write(raw, "data: [DONE]\n\n");
  };
  reply.hijack();
  raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), ...streamHeaders });
  try {
    await send(chunk({ role: "assistant", content: "" }, null));
    for await (const event of events) {
      if ("outcome" in event) await finish(event);
      if (!("window" in event)) continue;
      const window = fromBinary(WindowContentSchema, event.window.content);
      windows.push(window);
      const ticket = ticketed
        ? { sallyport: { window: toJson(WindowSchema, create(WindowSchema, event.window)) } }
        : {};
      if (window.text || ticketed) await send(chunk({ content: window.text }, null, ticket));
    }
  } catch (error) {
    await send(toHttpError(error).body);
  } finally {
    raw.end();
  }
}

const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
} as const;

/** Waits while the caller reads slower than the model writes; one who takes nothing is let go by the server (see listener.ts). */
async function write(raw: FastifyReply["raw"], text: string): Promise<void> {
  if (raw.destroyed || raw.write(text)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  raw.once("drain", resolve);
  raw.once("close", resolve);
  await promise;
  raw.off("drain", resolve);
  raw.off("close", resolve);
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
