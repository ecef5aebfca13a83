/** The OpenAI-compatible API. Streams carry their tickets when asked (`x-sallyport-tickets: windows`), so nothing is lost. */
import { create, type DescMessage, fromJson, type JsonValue, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  GetRequestResponseSchema,
  type Outcome,
  OutcomeSchema,
  RequestState,
  WindowContentSchema,
  WindowSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { openAiBody } from "../content.ts";
import type { ModelInfo, Moderation, ModerationResult } from "../types.ts";
import { judged, malformed } from "../views.ts";
import { connectionError, type HttpCaller, httpCaller } from "./http-call.ts";
import { fromPublicError } from "./http-errors.ts";
import { readEvents } from "./sse.ts";
import type { Call, ChatCall, ChatEvent, Tls, Transport } from "./transport.ts";

/** Base URL of the API, which ends in `/v1`. */
export function httpTransport(base: URL, tls: Tls): Transport {
  const http = httpCaller(base, tls);
  const of = (requestId: string, what = "") => `/requests/${encodeURIComponent(requestId)}${what}`;
  return {
    chat: (chat, call) => readChat(http, chat, call),
    getRequest: async (requestId, call) => {
      const answer = await http.json({ method: "GET", path: of(requestId) }, call);
      return fromAnswer(GetRequestResponseSchema, answer);
    },
    cancelRequest: async (requestId, call) => {
      const answer = await http.json({ method: "POST", path: of(requestId, "/cancel") }, call);
      return fromAnswer(GetRequestResponseSchema, answer).outcome;
    },
    getReceipt: async (requestId, call) => {
      const answer = await http.json({ method: "GET", path: of(requestId, "/receipt") }, call);
      const { record, proof } = answer as { record?: unknown; proof?: unknown };
      if (typeof record !== "string" || typeof proof !== "string") throw malformed("a receipt is record and proof");
      return { record: new TextEncoder().encode(record), proof };
    },
    listModels: async (call) => {
      const { data } = (await http.json({ method: "GET", path: "/models" }, call)) as { data?: OpenAiModel[] };
      if (!Array.isArray(data)) throw malformed("a list of models is missing");
      return data.map(toModel);
    },
    moderate: async (input, modality, call) => {
      const answer = await http.json({ method: "POST", path: "/moderations", body: { input, modality } }, call);
      return toModeration(answer as OpenAiModeration);
    },
    close: () => http.close(),
  };
}

async function* readChat(http: HttpCaller, chat: ChatCall, call: Call): AsyncGenerator<ChatEvent> {
  const { headers, body } = await http.open(
    {
      method: "POST",
      path: "/chat/completions",
      body: openAiBody(chat.request),
      headers: {
        "x-sallyport-tickets": "windows",
        ...(chat.idempotencyKey !== "" && { "idempotency-key": chat.idempotencyKey }),
      },
    },
    call,
  );
  try {
    const requestId = headers["x-request-id"];
    if (typeof requestId !== "string") throw malformed("the request id is missing");
    yield { accepted: requestId };
    for await (const chunk of readEvents(body)) {
      const event = eventOf(chunk as Chunk);
      if (event) yield event;
    }
  } catch (error) {
    throw connectionError(error, call);
  } finally {
    body.destroy();
  }
}

interface Chunk {
  error?: object;
  choices?: { delta?: { content?: string } }[];
  sallyport?: { window?: JsonValue; state?: string; request_id?: string; policy_digest?: string; leaf_hash?: string };
}

function eventOf({ error, choices, sallyport }: Chunk): ChatEvent | undefined {
  if (error) throw fromPublicError(error);
  if (sallyport?.window !== undefined) return { window: fromAnswer(WindowSchema, sallyport.window) };
  if (sallyport?.state !== undefined) return { outcome: outcomeOf(sallyport) };
  const text = choices?.[0]?.delta?.content;
  // A gateway that sends no tickets: the text counts for those alone who verify nothing.
  if (!text) return undefined;
  const content = toBinary(WindowContentSchema, create(WindowContentSchema, { text }));
  return { window: create(WindowSchema, { content }) };
}

function outcomeOf({ state, request_id, policy_digest, leaf_hash }: NonNullable<Chunk["sallyport"]>): Outcome {
  return create(OutcomeSchema, {
    requestId: request_id ?? "",
    state: state === "released" ? RequestState.RELEASED : RequestState.UNSPECIFIED,
    policyDigest: policy_digest ?? "",
    leafHash: leaf_hash ?? "",
  });
}

interface OpenAiModel {
  id: string;
  created: number;
  sallyport: { digest: string; version: string; tier: string; engine: string; context_tokens: number };
}

function toModel({ id: name, created, sallyport }: OpenAiModel): ModelInfo {
  const { digest, version, tier, engine, context_tokens: contextTokens } = sallyport;
  return { name, version, digest, engine, contextTokens, tier, approvedAt: new Date(created * 1_000) };
}

interface OpenAiModeration {
  id: string;
  results: {
    sallyport: {
      decision: ModerationResult["decision"];
      findings: { code: string; category: string; score: number; hard_stop: boolean; layer: string }[];
      scores: Record<string, number>;
      policy_digest: string;
    };
  }[];
}

function toModeration({ id, results }: OpenAiModeration): Moderation {
  if (!Array.isArray(results)) throw malformed("the results are missing");
  return {
    id,
    policyDigest: results[0]?.sallyport.policy_digest ?? "",
    results: results.map(({ sallyport: { decision, findings, scores } }) => {
      const ours = findings.map(({ hard_stop: hardStop, ...finding }) => ({ ...finding, hardStop }));
      return judged(decision, ours, scores);
    }),
  };
}

function fromAnswer<D extends DescMessage>(schema: D, answer: unknown): MessageShape<D> {
  try {
    return fromJson(schema, answer as JsonValue, { ignoreUnknownFields: true });
  } catch (cause) {
    throw malformed(`it is no ${schema.typeName}`, cause);
  }
}
