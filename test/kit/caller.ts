/** A caller that keeps everything it was sent and in which order, by any way there is, and can be asked while it still listens. */
import { fromBinary } from "@bufbuild/protobuf";
import type { Envelope } from "@sallyport/attestation";
import { type Outcome, Role, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import type { grpcClients, Person, TestPlatform } from "./index.ts";

export interface Ask {
  content: string;
  maxTokens?: number;
  idempotencyKey?: string;
  /** Who asks (default: the user). */
  person?: Person;
  /** Default: the pilot model. */
  model?: string;
}

export interface HeardWindow {
  text: string;
  /** By gRPC, and by server-sent events where asked for: the exact bytes, and the ticket over them. */
  exact?: { attempt: number; index: number; content: Uint8Array; ticket: Envelope };
  /** When it came (performance.now). */
  heardAt?: number;
}

export interface CallOptions {
  deadlineMs: number;
  signal?: AbortSignal;
}

export type Via = "grpc" | "sse" | "http";
export type HeardEvent = "accepted" | "window" | "outcome" | "error";

export class Call {
  readonly via: Via;
  readonly windows: HeardWindow[] = [];
  /** What came, in order: the platform must not contradict itself. */
  readonly events: HeardEvent[] = [];
  readonly done: Promise<this>;
  requestId: string | undefined;
  /** How the platform said that it ended; undefined when it could not say. */
  state: string | undefined;
  /** Of the terminal record, as told with the outcome. */
  leafHash: string | undefined;
  error: { code: string; reason: string } | undefined;
  tookMs = 0;
  /** When the last window came (performance.now). */
  lastWindowAt = 0;
  endedAt = 0;
  ended = false;

  constructor(via: Via, listen: (call: Call) => Promise<void>) {
    this.via = via;
    const startedAt = performance.now();
    this.done = listen(this)
      .catch((error: unknown) => {
        this.error = typed(error);
        this.events.push("error");
      })
      .then(() => {
        this.ended = true;
        this.endedAt = performance.now();
        this.tookMs = this.endedAt - startedAt;
        return this;
      });
  }

  get text(): string {
    return this.windows.map(({ text }) => text).join("");
  }

  hear(window: HeardWindow): void {
    this.events.push("window");
    this.lastWindowAt = performance.now();
    this.windows.push({ ...window, heardAt: performance.now() });
  }

  /** `state` as the API names it, in lower case. */
  conclude(state: string, leafHash: string): void {
    this.events.push("outcome");
    this.state = state;
    if (leafHash !== "") this.leafHash = leafHash;
  }

  /** Rejects when the call ends without one. */
  async firstWindow(): Promise<void> {
    await waitFor("a first window", () => this.windows.length > 0 || this.ended, { timeoutMs: 30_000, everyMs: 2 });
    if (this.windows.length === 0) throw new Error(`it ended without a window: ${JSON.stringify(this.error)}`);
  }
}

export const chatModel = "pilot-text";

export function chatByGrpc(
  sallyport: TestPlatform,
  { generation }: Pick<ReturnType<typeof grpcClients>, "generation">,
  { content, maxTokens = 0, idempotencyKey = "", person = "user", model = chatModel }: Ask,
  options: CallOptions,
): Call {
  return new Call("grpc", async (call) => {
    const messages = [{ role: Role.USER, content }];
    const parameters = { temperature: 0, maxTokens };
    const request = { content: { model, messages, parameters }, idempotencyKey };
    let outcome: Outcome | undefined;
    for await (const { event } of generation.chat(request, { ...options, bearer: sallyport.token(person) })) {
      if (event.case === "accepted") {
        call.events.push("accepted");
        call.requestId = event.value.requestId;
      }
      if (event.case === "window") {
        const { attempt, index, content: bytes, ticket } = event.value;
        const { text } = fromBinary(WindowContentSchema, bytes);
        call.hear({ text, exact: { attempt, index, content: bytes, ticket: ticket! } });
      }
      if (event.case === "outcome") {
        outcome = event.value;
        call.requestId = outcome.requestId;
        call.conclude(states[outcome.state]!, outcome.leafHash);
      }
    }
    if (!outcome) throw new AppError("INTERNAL", "the stream ended without an outcome", { reason: "NO_OUTCOME" });
  });
}

const states = ["", "queued", "running", "held", "released", "blocked", "failed", "cancelled"];

function typed(error: unknown): { code: string; reason: string } {
  if (error instanceof AppError) return { code: error.code, reason: error.reason };
  const { name, message, cause } = error as Error;
  if (name === "TimeoutError") return { code: "DEADLINE_EXCEEDED", reason: "CALLER_GAVE_UP" };
  if (name === "AbortError") return { code: "CANCELLED", reason: "CALLER_GAVE_UP" };
  if (error instanceof TypeError) return { code: "UNAVAILABLE", reason: "CONNECTION_LOST" };
  return { code: "UNTYPED", reason: `${name}: ${message} (${cause})` };
}
