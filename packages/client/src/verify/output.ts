/** Follows the release chain of a stream on the caller's side: a window's text comes out only when its ticket holds. */
import { AttestationError, saltedDigest, TicketVerifier, type TrustBundle } from "@sallyport/attestation";
import type { Chain, Window } from "@sallyport/proto/sallyport/generation/v1/generation";
import { VerificationError } from "../errors.ts";
import type { OutputProof } from "../types.ts";

export interface OutputContext {
  trust: TrustBundle;
  requestId: string;
  /** The request's bytes, as this side sent it. */
  content: Uint8Array;
}

/**
 * Everything is judged as of its issue: an idempotency key may bring an old output back. That an output answers this
 * request is held by its digest: it is over this request's bytes, or over what door 1 signed that it made of just them.
 */
export class OutputVerifier {
  readonly #context: OutputContext;
  readonly #contents: Uint8Array[] = [];
  #chain: Chain | undefined;
  #verifier: TicketVerifier | undefined;
  #attempt = 0;
  #modelDigest = "";
  #requestSanitised = false;
  #final = false;

  constructor(context: OutputContext) {
    this.#context = context;
  }

  /** Returns when the window's bytes may be used. Throws VerificationError; then nothing that follows may be used either. */
  window(window: Window): void {
    this.#refusing(() => {
      const chain = this.#begin(window);
      const { ticket, content, index, attempt } = window;
      if (!ticket) throw new VerificationError("TRUNCATED", "a window came without its ticket");
      if (index !== this.#contents.length || attempt !== this.#attempt)
        throw new VerificationError("OUT_OF_ORDER", "a window is out of order");
      const { hold, review } = chain;
      const { final } =
        hold && review
          ? this.#verifier!.heldOutput(hold, review, ticket, content)
          : this.#verifier!.window(ticket, content);
      this.#contents.push(content);
      this.#final = final;
    });
  }

  /** For a released request: nothing is missing at its end. */
  end(): OutputProof {
    if (!this.#final || !this.#chain)
      throw new VerificationError("TRUNCATED", "the end of the output is missing", this.#about);
    const { tenant, requestDigest, salt } = this.#chain;
    return {
      attempt: this.#attempt,
      tenant,
      modelDigest: this.#modelDigest,
      requestDigest,
      outputDigest: saltedDigest(salt, Buffer.concat(this.#contents)),
      requestSanitised: this.#requestSanitised,
    };
  }

  #begin({ chain, attempt }: Window): Chain {
    if (this.#chain) return this.#chain;
    if (!chain?.claim)
      throw new VerificationError("TRUNCATED", "the first window came without what its ticket hangs from");
    const { trust, requestId, content } = this.#context;
    const { tenant, salt, requestDigest } = chain;
    const [door1, review, countersign, ...more] = chain.admission;
    if (!door1 || (review && !countersign) || more.length > 0)
      throw new VerificationError("CHAIN_BROKEN", "the admission is not one that a request can have");
    const sentDigest = saltedDigest(salt, content);
    const about = { requestId, tenant, attempt, requestDigest, sentDigest, salt, modality: "text" as const };
    // Which model is approved, the gateway knows; which one ran is in the proof.
    const rules = { trust, clock: () => new Date(), at: "issue" as const, approvedModel: () => true };
    const verifier = new TicketVerifier({ ...about, ...rules });
    verifier.admit(door1, review && countersign ? { review, countersign } : undefined);
    this.#requestSanitised = requestDigest !== sentDigest;
    this.#modelDigest = verifier.claim(chain.claim).statement.predicate.modelDigest ?? "";
    [this.#verifier, this.#attempt, this.#chain] = [verifier, attempt, chain];
    return chain;
  }

  get #about() {
    return { requestId: this.#context.requestId };
  }

  #refusing(step: () => void): void {
    try {
      step();
    } catch (error) {
      throw unverified(error, this.#context.requestId);
    }
  }
}

/** A refusal of attestation or log as the client's error; everything else as it is. */
export function unverified(error: unknown, requestId: string): unknown {
  if (error instanceof VerificationError && error.requestId === undefined)
    return new VerificationError(error.reason, error.message, { requestId, cause: error });
  const known = error instanceof AttestationError || (error as Error)?.name === "TlogError";
  if (!known) return error;
  const { code, message } = error as { code: string; message: string };
  return new VerificationError(code.toUpperCase(), message, { requestId, cause: error });
}
