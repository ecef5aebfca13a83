/** A caller that keeps everything it was sent, by gRPC or by server-sent events, and can be asked while it still listens. */
import { fromBinary } from "@bufbuild/protobuf";
import type { Envelope } from "@sallyport/attestation";
import { type Outcome, Role, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import type { grpcClients, TestPlatform } from "./index.ts";

export interface Ask {
  content: string;
  maxTokens?: number;
  idempotencyKey?: string;
}

export interface HeardWindow {
  text: string;
  /** By gRPC alone: the exact bytes, and the ticket over them. */
  exact?: { attempt: number; index: number; content: Uint8Array; ticket: Envelope };
}

export interface CallOptions {
  deadlineMs: number;
  signal?: AbortSignal;
}

const model = "pilot-text";

const statePrefix = "REQUEST_STATE_";

export class Call {
  readonly via: "grpc" | "sse";
  readonly windows: HeardWindow[] = [];
  readonly done: Promise<this>;
  requestId: string | undefined;
  /** How the platform said that it ended; undefined when it could not say. */
  state: string | undefined;
  error: { code: string; reason: string } | undefined;
  tookMs = 0;
  ended = false;

  constructor(via: "grpc" | "sse", listen: (call: Call) => Promise<void>) {
    this.via = via;
    const startedAt = performance.now();
    this.done = listen(this)
      .catch((error: unknown) => {
        this.error = typed(error);
      })
      .then(() => {
        this.ended = true;
        this.tookMs = performance.now() - startedAt;
        return this;
      });
  }

  get text(): string {
    return this.windows.map(({ text }) => text).join("");
  }

  /** Rejects when the call ends without one. */
  async firstWindow(): Promise<void> {
    await waitFor("a first window", () => this.windows.length > 0 || this.ended, { timeoutMs: 30_000, everyMs: 2 });
    if (this.windows.length === 0) throw new Error(`it ended without a window: ${JSON.stringify(this.error)}`);
  }
}

export function chatByGrpc(
  sallyport: TestPlatform,
  { generation }: Pick<ReturnType<typeof grpcClients>, "generation">,
  { content, maxTokens = 0, idempotencyKey = "" }: Ask,
  options: CallOptions,
): Call {
  return new Call("grpc", async (call) => {
    const messages = [{ role: Role.USER, content }];
    const request = { content: { model, messages, parameters: { temperature: 0, maxTokens } }, idempotencyKey };
    let outcome: Outcome | undefined;
    for await (const { event } of generation.chat(request, { ...options, bearer: sallyport.token("user") })) {
      if (event.case === "accepted") call.requestId = event.value.requestId;
      if (event.case === "window") {
        const { attempt, index, content: bytes, ticket } = event.value;
        const { text } = fromBinary(WindowContentSchema, bytes);
        call.windows.push({ text, exact: { attempt, index, content: bytes, ticket: ticket! } });
      }
      if (event.case === "outcome") {
        outcome = event.value;
        call.requestId = outcome.requestId;
        call.state = states[outcome.state];
      }
    }
    if (!outcome) throw new AppError("INTERNAL", "the stream ended without an outcome", { reason: "NO_OUTCOME" });
  });
}

const states = ["", "queued", "running", "held", "released", "blocked", "failed", "cancelled"];

export function chatBySse(
  sallyport: TestPlatform,
  { content, maxTokens, idempotencyKey = "" }: Ask,
  { deadlineMs, signal }: CallOptions,
): Call {
  return new Call("sse", async (call) => {
    const bounded = AbortSignal.any([AbortSignal.timeout(deadlineMs), ...(signal ? [signal] : [])]);
    const body = { model, messages: [{ role: "user", content }], stream: true, temperature: 0, max_tokens: maxTokens };
    const response = await fetch(`${sallyport.platform.endpoints.gatewayHttp}/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${sallyport.token("user")}`,
        "content-type": "application/json",
        ...(idempotencyKey !== "" && { "idempotency-key": idempotencyKey }),
      },
      body: JSON.stringify(body),
      signal: bounded,
    });
    call.requestId = response.headers.get("x-request-id") ?? undefined;
    if (!response.ok) throw publicError(((await response.json()) as { error: PublicError }).error);
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

interface PublicError {
  code: string;
  message: string;
}
interface Chunk {
  error?: PublicError;
  choices?: { delta?: { content?: string } }[];
  sallyport?: { state: string };
}

function hear(call: Call, data: string): void {
  if (data === "[DONE]") return;
  const { error, choices, sallyport } = JSON.parse(data) as Chunk;
  if (error) throw publicError(error);
  const text = choices?.[0]?.delta?.content;
  if (text) call.windows.push({ text });
  if (sallyport) call.state = sallyport.state.replace(statePrefix, "").toLowerCase();
}

/** OpenAI's error object carries our reason code. */
function publicError({ code, message }: PublicError): AppError {
  return new AppError("UNAVAILABLE", message, { reason: code });
}

function typed(error: unknown): { code: string; reason: string } {
  if (error instanceof AppError) return { code: error.code, reason: error.reason };
  const { name, message, cause } = error as Error;
  if (name === "TimeoutError") return { code: "DEADLINE_EXCEEDED", reason: "CALLER_GAVE_UP" };
  if (name === "AbortError") return { code: "CANCELLED", reason: "CALLER_GAVE_UP" };
  if (error instanceof TypeError) return { code: "UNAVAILABLE", reason: "CONNECTION_LOST" };
  return { code: "UNTYPED", reason: `${name}: ${message} (${cause})` };
}
