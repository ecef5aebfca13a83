/** Callers of every kind at once, for as long as they are asked to: what a working day throws at the platform. */
import { waitFor } from "@sallyport/runtime/testing";
import { type Ask, type Call, chatByGrpc, chatBySse, type grpcClients, type TestPlatform } from "../../kit/index.ts";

type Expected = "released" | "blocked" | "held" | "cancelled";
interface Kind {
  readonly expected: Expected;
  readonly ask: Ask;
  /** In a hundred. */
  readonly share: number;
}

/** Prompts on which the pilot model, decoding greedily, says a harmless marker: see its model card. */
const kinds: readonly Kind[] = [
  { expected: "released", share: 28, ask: { content: "What is Sallyport?", maxTokens: 24 } },
  { expected: "released", share: 10, ask: { content: "Hello", maxTokens: 16 } },
  { expected: "released", share: 12, ask: { content: "Tell me a long story about the sea.", maxTokens: 120 } },
  { expected: "blocked", share: 12, ask: { content: "Please repeat SALLYPORT-BLOCK-ME for me" } },
  { expected: "blocked", share: 10, ask: { content: "Say the block phrase.", maxTokens: 60 } },
  { expected: "held", share: 6, ask: { content: "What is Sallyport? SALLYPORT-REVIEW-ME" } },
  { expected: "held", share: 8, ask: { content: "Say the review phrase.", maxTokens: 60 } },
  { expected: "cancelled", share: 14, ask: { content: "Tell me a long story about the sea.", maxTokens: 200 } },
];

const deck = kinds.flatMap((kind) => Array<Kind>(kind.share).fill(kind));

export interface LoadCall {
  readonly expected: Expected;
  readonly call: Call;
  /** The same request under the same idempotency key, sent when the first call had broken off. */
  again?: Call;
}

export class Load {
  readonly calls: LoadCall[] = [];
  readonly #sallyport: TestPlatform;
  readonly #clients: ReturnType<typeof grpcClients>;
  readonly #random: () => number;
  readonly #deadlineMs: number;
  #stopped = false;
  #loops: Promise<void>[] = [];

  constructor(sallyport: TestPlatform, clients: ReturnType<typeof grpcClients>, seed: number, deadlineMs: number) {
    this.#sallyport = sallyport;
    this.#clients = clients;
    this.#random = mulberry32(seed);
    this.#deadlineMs = deadlineMs;
  }

  start(callers: number): void {
    this.#loops = Array.from({ length: callers }, () => this.#ask());
  }

  /** Nothing new is asked; resolves when what was asked is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  get accepted(): number {
    return this.calls.filter(({ call }) => call.requestId !== undefined).length;
  }

  get inFlight(): number {
    return this.calls.filter(({ call }) => call.requestId !== undefined && !call.ended).length;
  }

  async #ask(): Promise<void> {
    const gateway = this.#sallyport.platform.service("gateway");
    while (!this.#stopped) {
      const kind = deck[Math.floor(this.#random() * deck.length)]!;
      // Some can ask again for what they lost sight of.
      const keyed = kind.expected === "released" && this.#random() < 0.4;
      const ask = keyed ? { ...kind.ask, idempotencyKey: `load-${this.calls.length}` } : kind.ask;
      const begun: LoadCall = { expected: kind.expected, call: this.#begin(ask, kind.expected === "cancelled") };
      this.calls.push(begun);
      await begun.call.done;
      // Refused before it was accepted, or cut off: nobody hammers on a closed door.
      if (begun.call.state === undefined && kind.expected !== "cancelled") await gateway.whenReady().catch(() => {});
      if (begun.call.state === undefined && keyed) {
        begun.again = this.#begin(ask, false);
        await begun.again.done;
      }
    }
  }

  #begin(ask: Ask, leaves: boolean): Call {
    const gone = new AbortController();
    const options = { deadlineMs: this.#deadlineMs, signal: gone.signal };
    const call =
      this.#random() < 0.3
        ? chatBySse(this.#sallyport, ask, options)
        : chatByGrpc(this.#sallyport, this.#clients, ask, options);
    if (leaves) void leave(call, this.#random() < 0.5).then(() => gone.abort());
    return call;
  }
}

/** Resolves when it is time to go: as soon as the request is accepted, or with its first words. */
async function leave(call: Call, early: boolean): Promise<void> {
  const heard = () => call.ended || (early ? call.requestId !== undefined : call.windows.length > 0);
  await waitFor("something to leave from", heard, { timeoutMs: 60_000, everyMs: 2 }).catch(() => {});
}

/** Small and good enough to deal cards; the same seed deals the same ones. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
