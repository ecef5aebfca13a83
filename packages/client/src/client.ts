/** The client: one interface, whichever transport carries it. */
import { randomUUID } from "node:crypto";
import { verifyReleaseTicket } from "@sallyport/attestation";
import type { GetRequestResponse } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ChatStream, runChat } from "./chat.ts";
import { toContent } from "./content.ts";
import { SallyportError, VerificationError } from "./errors.ts";
import { type ClientOptions, readOptions, type Settings } from "./options.ts";
import { pause, type RetryBounds, waitBefore, withRetries } from "./retry.ts";
import type { Call, ChatCall, Receipt } from "./transport/transport.ts";
import type {
  CallOptions,
  ChatOptions,
  ChatRequest,
  ChatResult,
  ChatWindow,
  ModelInfo,
  Moderation,
  ReceiptOptions,
  RequestView,
} from "./types.ts";
import { unverified } from "./verify/output.ts";
import { checkAbout, type VerifiedReceipt, verifyReceipt } from "./verify/receipt.ts";
import { textOfTicket } from "./verify/ticket-text.ts";
import { toView } from "./views.ts";

const receiptWaitMs = 10_000;
const receiptPollMs = 250;
/** For letting the platform know that nobody waits any more. */
const partingMs = 3_000;

/** Throws INVALID_ARGUMENT (OPTION_INVALID) or FAILED_PRECONDITION (TRUST_INVALID). Connects at its first call. */
export function createClient(options: ClientOptions): SallyportClient {
  return new SallyportClient(readOptions(options));
}

/** Every method throws SallyportError, and VerificationError for what does not match its signatures. */
export class SallyportClient implements Disposable {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The released output, whole and verified. Repeated safely under an idempotency key, which is made when there is none. */
  async chat(request: ChatRequest, options: ChatOptions = {}): Promise<ChatResult> {
    const chat = { request, content: toContent(request), idempotencyKey: options.idempotencyKey ?? randomUUID() };
    const bounds = this.#bounds(options);
    let requestId: string | undefined;
    try {
      return await withRetries(bounds, async () => {
        const windows = runChat(
          {
            ...this.#settings,
            onAccepted: (id) => {
              requestId = id;
            },
          },
          chat,
          await this.#call(bounds),
        );
        for (;;) {
          const { done, value } = await windows.next();
          if (done) return value;
        }
      });
    } catch (error) {
      // The key that we made would let it run on for somebody who never comes back.
      if (requestId && !options.idempotencyKey && bounds.signal.aborted) await this.#leave(requestId);
      throw error;
    }
  }

  /**
   * The output window by window, each verified before it is given. Repeated only with an idempotency key of the caller's,
   * and never once a window was given. Sent when it is first read; who stops reading cancels it.
   */
  stream(request: ChatRequest, options: ChatOptions = {}): ChatStream {
    const chat = { request, content: toContent(request), idempotencyKey: options.idempotencyKey ?? "" };
    let requestId: string | undefined;
    const accept = (id: string) => {
      requestId = id;
    };
    return new ChatStream(this.#windows(chat, this.#bounds(options), accept), () => requestId);
  }

  /** State of one's own request and, once released, its output: read from the release ticket, which is verified. */
  async getRequest(requestId: string, options: CallOptions = {}): Promise<RequestView> {
    const response = await this.#read(options, (call) => this.#settings.transport.getRequest(requestId, call));
    if (response.outcome?.requestId !== requestId)
      throw new VerificationError("REQUEST_MISMATCH", "the answer is about another request", { requestId });
    return { ...toView(response), ...this.#output(requestId, response) };
  }

  /** Stops it, if it has not ended. Resolves with how it stands. Idempotent. */
  async cancel(requestId: string, options: CallOptions = {}): Promise<RequestView> {
    await this.#read(options, (call) => this.#settings.transport.cancelRequest(requestId, call));
    return await this.getRequest(requestId, options);
  }

  /**
   * The proof that the request's record is in the audit log, verified; of a result, also that the record is over this very
   * output. Waits until the log holds it.
   */
  async receipt(
    of: string | ChatResult,
    options: ReceiptOptions = {},
  ): Promise<VerifiedReceipt & { receipt: Receipt }> {
    const expected =
      typeof of === "string" ? { requestId: of } : { ...of.proof, requestId: of.requestId, leafHash: of.leafHash };
    const { trust } = this.#settings;
    if (!trust)
      throw new SallyportError("FAILED_PRECONDITION", 'a receipt proves nothing unverified: give verify, not "off"', {
        reason: "VERIFY_OFF",
      });
    const receipt = await this.#awaitReceipt(expected.requestId, options);
    try {
      const verified = verifyReceipt(receipt, trust());
      checkAbout(verified, expected);
      return { ...verified, receipt };
    } catch (error) {
      throw unverified(error, expected.requestId);
    }
  }

  /** What may be asked. */
  listModels(options: CallOptions = {}): Promise<ModelInfo[]> {
    return this.#read(options, (call) => this.#settings.transport.listModels(call));
  }

  /** Door 1's judgement of texts, for no model. Every call is a record, so it is never repeated. */
  async moderate(
    texts: string | readonly string[],
    options: CallOptions & { modality?: "text" | "image_prompt" } = {},
  ): Promise<Moderation> {
    const call = await this.#call(this.#bounds(options));
    return await this.#settings.transport.moderate([texts].flat(), options.modality ?? "text", call);
  }

  /** Ends the connections; calls in flight fail. */
  close(): void {
    this.#settings.transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#windows(
    chat: ChatCall,
    bounds: RetryBounds,
    onAccepted: (requestId: string) => void,
  ): AsyncGenerator<ChatWindow, ChatResult> {
    for (let retry = 1, given = 0; ; retry += 1) {
      const windows = runChat({ ...this.#settings, onAccepted }, chat, await this.#call(bounds));
      try {
        for (;;) {
          const { done, value } = await windows.next();
          if (done) return value;
          given += 1;
          yield value;
        }
      } catch (error) {
        const wait = chat.idempotencyKey && given === 0 ? waitBefore(retry, error, bounds) : undefined;
        if (wait === undefined) throw error;
        await pause(wait, bounds.signal);
      } finally {
        await windows.return(undefined as never);
      }
    }
  }

  #output(requestId: string, response: GetRequestResponse): Pick<RequestView, "text" | "ticket"> {
    if (response.ticket.length === 0 && response.output.length === 0) return { text: undefined, ticket: undefined };
    const said = response.output.map((window) => window.text).join("");
    const ticket = Buffer.from(response.ticket).toString("utf8");
    const { trust } = this.#settings;
    if (!trust) return { text: said, ticket };
    try {
      const report = verifyReleaseTicket(ticket, trust(), { at: "issue" });
      if (report.requestId !== requestId)
        throw new VerificationError("REQUEST_MISMATCH", "the ticket is another request's");
      const text = textOfTicket(ticket);
      if (text !== said) throw new VerificationError("SUBJECT_MISMATCH", "the output is not what the ticket is over");
      return { text, ticket };
    } catch (error) {
      throw unverified(error, requestId);
    }
  }

  async #awaitReceipt(requestId: string, { waitMs = receiptWaitMs, ...options }: ReceiptOptions): Promise<Receipt> {
    const bounds = this.#bounds(options);
    const giveUpAt = Date.now() + waitMs;
    for (;;) {
      try {
        return await withRetries(bounds, async () =>
          this.#settings.transport.getReceipt(requestId, await this.#call(bounds)),
        );
      } catch (error) {
        const pending = error instanceof SallyportError && error.reason === "RECEIPT_PENDING";
        if (!pending || Date.now() > giveUpAt) throw error;
      }
      await pause(receiptPollMs, bounds.signal);
    }
  }

  async #read<T>(options: CallOptions, ask: (call: Call) => Promise<T>): Promise<T> {
    const bounds = this.#bounds(options);
    return await withRetries(bounds, async () => ask(await this.#call(bounds)));
  }

  async #leave(requestId: string): Promise<void> {
    const bounds = this.#bounds({ timeoutMs: partingMs });
    // It ends at its own deadline where this does not get through.
    await this.#settings.transport.cancelRequest(requestId, await this.#call(bounds)).catch(() => {});
  }

  #bounds({ timeoutMs = this.#settings.timeoutMs, signal }: CallOptions): RetryBounds {
    const timeout = AbortSignal.timeout(timeoutMs);
    return {
      maxRetries: this.#settings.maxRetries,
      deadlineAt: Date.now() + timeoutMs,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    };
  }

  async #call({ deadlineAt, signal }: RetryBounds): Promise<Call> {
    const { token } = this.#settings;
    const bearer = typeof token === "function" ? await token() : token;
    return { bearer: bearer?.trim(), signal, deadlineAt };
  }
}
