/** One chat on its way: windows as they are released and verified, then the result. */
import { fromBinary } from "@bufbuild/protobuf";
import {
  RequestState,
  type WindowContent,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { contentBytes } from "./content.ts";
import { SallyportError } from "./errors.ts";
import type { Call, ChatCall, Transport } from "./transport/transport.ts";
import type { ChatResult, ChatWindow } from "./types.ts";
import { OutputVerifier } from "./verify/output.ts";
import type { TrustSource } from "./verify/trust.ts";
import { finishReasonOf, malformed, usageOf } from "./views.ts";

export interface ChatParts {
  transport: Transport;
  trust: TrustSource | undefined;
  onAccepted: (requestId: string) => void;
}

/** One attempt. Returns the result; throws for every other end, after the windows that were released until then. */
export async function* runChat(
  { transport, trust, onAccepted }: ChatParts,
  chat: ChatCall,
  call: Call,
): AsyncGenerator<ChatWindow, ChatResult> {
  const contents: WindowContent[] = [];
  let requestId = "";
  let verifier: OutputVerifier | undefined;
  for await (const event of transport.chat(chat, call)) {
    if ("accepted" in event) {
      // One request a call: windows of two would be one text that no proof is about.
      if (requestId) throw malformed("a second request id");
      requestId = event.accepted;
      onAccepted(requestId);
      if (trust) verifier = new OutputVerifier({ trust: trust(), requestId, content: contentBytes(chat.content) });
    } else if ("window" in event) {
      if (trust && !verifier) throw malformed("a window came before the request id");
      verifier?.window(event.window);
      const content = fromBinary(WindowContentSchema, event.window.content);
      const index = contents.push(content) - 1;
      yield { index, text: content.text, sanitised: content.sanitised };
    } else if (event.outcome.state === RequestState.RELEASED) {
      if (trust && !verifier) throw malformed("an outcome came before the request id");
      const { policyDigest, leafHash } = event.outcome;
      return {
        requestId,
        text: contents.map(({ text }) => text).join(""),
        finishReason: finishReasonOf(contents.at(-1)),
        usage: usageOf(contents.at(-1)),
        sanitised: contents.some(({ sanitised }) => sanitised),
        policyDigest,
        leafHash,
        proof: verifier?.end(),
      };
    }
    // Every other outcome comes once more, as the error that ends the call.
  }
  throw new SallyportError("UNAVAILABLE", "the stream ended without an outcome", { reason: "STREAM_ENDED", requestId });
}

/** Iterate it for the windows; `result()` waits for the end. One reader only. */
export class ChatStream implements AsyncIterable<ChatWindow> {
  readonly #windows: AsyncGenerator<ChatWindow, ChatResult>;
  readonly #accepted: () => string | undefined;
  #result: ChatResult | undefined;
  #failure: unknown;

  constructor(windows: AsyncGenerator<ChatWindow, ChatResult>, accepted: () => string | undefined) {
    this.#windows = windows;
    this.#accepted = accepted;
  }

  /** Once the request is accepted. */
  get requestId(): string | undefined {
    return this.#accepted();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChatWindow, void> {
    try {
      for (;;) {
        const step = await this.#next();
        if (step === undefined) return;
        yield step;
      }
    } finally {
      // Who stops reading has no use for the rest: the call is cancelled.
      await this.#windows.return(undefined as never);
    }
  }

  /** Reads what is left, then gives the result. Throws what the stream ended with. */
  async result(): Promise<ChatResult> {
    while ((await this.#next()) !== undefined);
    if (this.#result) return this.#result;
    throw this.#failure ?? new SallyportError("CANCELLED", "the stream was left before its end");
  }

  async #next(): Promise<ChatWindow | undefined> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const { done, value } = await this.#windows.next();
      if (!done) return value;
      this.#result ??= value;
      return undefined;
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }
}
