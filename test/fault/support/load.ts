/** Callers of every kind at once, for as long as they are asked to: what a working day throws at the platform. */
import { delay } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import {
  type Ask,
  type Call,
  chatByGrpc,
  chatByHttp,
  chatBySse,
  type grpcClients,
  type Person,
  type TestPlatform,
} from "../../kit/index.ts";
import { pick, type Random, streamOf } from "./random.ts";

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
  { expected: "blocked", share: 10, ask: { content: "Say the block phrase." } },
  { expected: "held", share: 6, ask: { content: "What is Sallyport? SALLYPORT-REVIEW-ME" } },
  { expected: "held", share: 8, ask: { content: "Say the review phrase." } },
  { expected: "cancelled", share: 14, ask: { content: "Tell me a long story about the sea.", maxTokens: 200 } },
];
const afterRefusalMs = 100;
const deck = kinds.flatMap((kind) => Array<Kind>(kind.share).fill(kind));
/** Two identities, of two tenants. */
const people: readonly Person[] = ["user", "user", "outsider"];
const ways = ["grpc", "grpc", "grpc", "sse", "ticketed sse", "http"] as const;

/** All that chance decides about one call: the same caller of the same seed chooses the same, whatever happens meanwhile. */
export interface Choice {
  readonly expected: Expected;
  readonly ask: Ask & { readonly person: Person };
  readonly way: (typeof ways)[number];
  /** For who leaves: as soon as the request is accepted, or with its first words. */
  readonly early: boolean;
  /** Asks again under its key, also when nothing was cut off. */
  readonly repeats: boolean;
}

export function chooseCall(random: Random, key: string): Choice {
  const kind = pick(random, deck);
  const [person, way, early] = [pick(random, people), pick(random, ways), random() < 0.5];
  // Some can ask again for what they lost sight of.
  const mayReturn = kind.expected === "released" || kind.expected === "held";
  const [keyed, repeats] = [random() < 0.4, random() < 0.3];
  const ask = { ...kind.ask, person, ...(keyed && mayReturn && { idempotencyKey: key }) };
  return { expected: kind.expected, ask, way, early, repeats };
}

export interface LoadCall {
  readonly expected: Expected;
  readonly person: Person;
  readonly prompt: string;
  readonly call: Call;
  /** The same request under the same idempotency key. */
  again?: Call;
}

export interface LoadOptions {
  readonly sallyport: TestPlatform;
  readonly clients: ReturnType<typeof grpcClients>;
  readonly seed: number;
  readonly deadlineMs: number;
}

export class Load {
  readonly calls: LoadCall[] = [];
  readonly #options: LoadOptions;
  #stopped = false;
  #loops: Promise<void>[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  start(callers: number): void {
    this.#loops = Array.from({ length: callers }, (_, caller) => this.#ask(caller));
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

  async #ask(caller: number): Promise<void> {
    const { seed, sallyport } = this.#options;
    const random = streamOf(seed, caller);
    const gateway = sallyport.platform.service("gateway");
    for (let asked = 0; !this.#stopped; asked++) {
      const choice = chooseCall(random, `load-${seed}-${caller}-${asked}`);
      const { expected, ask } = choice;
      const { person, content: prompt } = ask;
      const begun: LoadCall = { expected, person, prompt, call: this.#begin(choice, expected === "cancelled") };
      this.calls.push(begun);
      await begun.call.done;
      const cutOff = begun.call.state === undefined && expected !== "cancelled";
      // Refused before it was accepted, or cut off: nobody hammers on a closed door.
      if (cutOff) await Promise.all([gateway.whenReady().catch(() => {}), delay(afterRefusalMs)]);
      if (ask.idempotencyKey === undefined || !(cutOff || choice.repeats)) continue;
      begun.again = this.#begin(choice, false);
      await begun.again.done;
    }
  }

  #begin({ ask, way, early }: Choice, leaves: boolean): Call {
    const { sallyport, clients, deadlineMs } = this.#options;
    const gone = new AbortController();
    const options = { deadlineMs, signal: gone.signal };
    const ticketed = way === "ticketed sse";
    const call =
      way === "grpc"
        ? chatByGrpc(sallyport, clients, ask, options)
        : way === "http"
          ? chatByHttp(sallyport, ask, options)
          : chatBySse(sallyport, { ...ask, ticketed }, options);
    if (leaves) void leave(call, early).then(() => gone.abort());
    return call;
  }
}

/** Resolves when it is time to go: as soon as the request is accepted, or with its first words. */
async function leave(call: Call, early: boolean): Promise<void> {
  const heard = () => call.ended || (early ? call.requestId !== undefined : call.windows.length > 0);
  await waitFor("something to leave from", heard, { timeoutMs: 60_000, everyMs: 2 }).catch(() => {});
}
