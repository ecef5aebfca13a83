import { saltedDigest } from "./bodies.ts";
import type { Envelope } from "./dsse.ts";
import { AttestationError, refusing } from "./errors.ts";
import { check, type Link, type LinkContext, type Place, verifyLink } from "./link.ts";
import { subjectOf } from "./statement.ts";
import type { Decision } from "./vocabulary.ts";

export interface TicketContext extends LinkContext {
  /** 1 or more: the attempt whose output is to be released. */
  attempt: number;
  /** saltedDigest of the request as accepted (after door 1's sanitising, where it sanitised). */
  requestDigest: string;
  /** saltedDigest of the request as its caller sent it, for who knows it: door 1 was asked about just that. */
  sentDigest?: string;
  salt: Uint8Array;
  /** Asked at the claim and again at every release, so that a revocation ends a running stream. */
  approvedModel: (modelDigest: string) => boolean;
}

/** A person's release of what a door held, countersigned by door 2. */
export interface Release {
  review: Envelope;
  countersign: Envelope;
}

/** The link that was verified, and whether nothing more may follow. */
export interface Released extends Link {
  final: boolean;
}

type State = "open" | "held" | "ended";

/**
 * Follows the release chain of one attempt: admit, claim, (mark,) window… or heldOutput. A method returns only when
 * the whole chain up to it holds; otherwise it throws TicketError and the verifier's place in the chain stays where it
 * was. What it did not return for must not be released.
 */
export class TicketVerifier {
  readonly #context: TicketContext;
  #admission: Link[] = [];
  #claim: Link | undefined;
  #mark: Link | undefined;
  #last: Link | undefined;
  #nextIndex = 0;
  #state: State = "open";

  constructor(context: TicketContext) {
    const attemptFits = Number.isSafeInteger(context.attempt) && context.attempt >= 1;
    if (!attemptFits || !/^[0-9a-f]{64}$/.test(context.requestDigest) || context.salt.length !== 32) {
      throw new AttestationError(
        "FIELD_INVALID",
        "a ticket needs an attempt from 1, a request digest and a 32-byte salt",
      );
    }
    this.#context = context;
  }

  /** Door 1 let the request in, or held it and a person, countersigned, let it in. */
  admit(door1: Envelope, release?: Release): Link {
    return refusing(() => {
      check(this.#admission.length === 0, "OUT_OF_ORDER", "the request is already admitted");
      const link = verifyLink(door1, this.#context, {
        stage: "door1",
        attempt: 0,
        decisions: release === undefined ? ["allow", "sanitise"] : ["hold"],
        subject: { name: "request", digest: this.#context.requestDigest },
        sentDigest: this.#context.sentDigest,
        places: [{ index: 0, prev: null }],
        mayHaveExpired: release !== undefined,
      });
      this.#admission = release === undefined ? [link] : [link, ...this.#releasedBy(release, link)];
      return this.#admission.at(-1)!;
    });
  }

  /** The worker says which approved model it runs on the admitted request. */
  claim(worker: Envelope): Link {
    return refusing(() => {
      const admission = this.#admission.at(-1);
      check(admission !== undefined && this.#claim === undefined, "OUT_OF_ORDER", "one claim follows the admission");
      const link = verifyLink(worker, this.#context, {
        stage: "worker",
        attempt: this.#context.attempt,
        decisions: ["claim"],
        subject: { name: "request", digest: this.#context.requestDigest },
        places: [{ index: 0, prev: admission.digest }],
      });
      checkNamedModel(this.#admission, link);
      this.#checkApproved(link);
      this.#claim = link;
      return link;
    });
  }

  /** The watermarker marked the next image. No image has a window without it, no text with it. */
  mark(watermarker: Envelope): Link {
    return refusing(() => {
      const due = this.#context.modality === "image" && this.#mark === undefined;
      check(due && this.#claim !== undefined && this.#state === "open", "OUT_OF_ORDER", "no mark is due here");
      const link = verifyLink(watermarker, this.#context, {
        stage: "watermarker",
        attempt: this.#context.attempt,
        decisions: ["claim"],
        subject: { name: "output" },
        places: [{ index: this.#nextIndex, prev: (this.#last ?? this.#claim).digest }],
      });
      this.#checkSameModel(link);
      this.#mark = link;
      return link;
    });
  }

  /** Door 2 let exactly these bytes out, as the next part of the output. */
  window(door2: Envelope, bytes: Uint8Array): Released {
    return refusing(() => {
      check(this.#claim !== undefined && this.#state === "open", "OUT_OF_ORDER", "no window is due here");
      const link = this.#door2(door2, ["allow", "sanitise"], [this.#nextPart()], bytes);
      this.#checkApproved(link);
      this.#last = link;
      this.#mark = undefined;
      this.#nextIndex += 1;
      const { final } = link.statement.predicate;
      if (final) this.#state = "ended";
      return { ...link, final };
    });
  }

  /**
   * A person released the whole output that door 2 held: hold, review and countersignature are over these bytes. The
   * hold may have expired meanwhile; review and countersignature may not.
   */
  heldOutput(hold: Envelope, review: Envelope, countersign: Envelope, bytes: Uint8Array): Released {
    return refusing(() => {
      check(this.#claim !== undefined && this.#state !== "ended", "OUT_OF_ORDER", "nothing may follow here");
      const held = this.#door2(hold, ["hold"], [this.#wholeOutput()], bytes, true);
      check(held.statement.predicate.final, "CHAIN_BROKEN", "the hold is not over the whole output");
      this.#checkApproved(held);
      const links = this.#releasedBy({ review, countersign }, held);
      checkNamedModel(links, held);
      this.#state = "ended";
      return { ...links[1], final: true };
    });
  }

  /** Door 2 refused or held: genuine and in its place. It releases nothing, and ends what is streamed. */
  decisionOnly(door2: Envelope): Link {
    return refusing(() => {
      check(this.#claim !== undefined && this.#state !== "ended", "OUT_OF_ORDER", "nothing may follow here");
      const link = this.#door2(door2, ["deny", "hold"], [this.#nextPart(), this.#wholeOutput()]);
      this.#state = link.statement.predicate.decision === "hold" ? "held" : "ended";
      return link;
    });
  }

  /** With `bytes` for what releases them, without for a decision that releases nothing and may thus be a hard stop. */
  #door2(
    envelope: Envelope,
    decisions: readonly Decision[],
    places: Place[],
    bytes?: Uint8Array,
    mayHaveExpired = false,
  ): Link {
    const digest = bytes === undefined ? undefined : saltedDigest(this.#context.salt, bytes);
    const link = verifyLink(envelope, this.#context, {
      stage: "door2",
      attempt: this.#context.attempt,
      decisions,
      subject: { name: "output", digest },
      places,
      mayHardStop: bytes === undefined,
      mayHaveExpired,
    });
    this.#checkSameModel(link);
    if (digest !== undefined && this.#context.modality === "image") {
      const marked = this.#mark !== undefined && subjectOf(this.#mark.statement).digest === digest;
      check(marked, "SUBJECT_MISMATCH", "these are not the bytes that were marked");
    }
    return link;
  }

  #releasedBy({ review, countersign }: Release, held: Link): [review: Link, countersign: Link] {
    const step = (envelope: Envelope, stage: "review" | "countersign", prev: Link) =>
      verifyLink(envelope, this.#context, {
        stage,
        attempt: held.statement.predicate.attempt,
        decisions: ["allow"],
        subject: subjectOf(held.statement),
        places: [{ index: 0, prev: prev.digest }],
      });
    const reviewed = step(review, "review", held);
    return [reviewed, step(countersign, "countersign", reviewed)];
  }

  #nextPart(): Place {
    return { index: this.#nextIndex, prev: (this.#mark ?? this.#last ?? this.#claim)!.digest };
  }

  /** A whole output is held in a chain of its own, straight from the claim (of an image: from its mark). */
  #wholeOutput(): Place {
    const mark = this.#nextIndex === 0 ? this.#mark : undefined;
    return { index: 0, prev: (mark ?? this.#claim)!.digest };
  }

  #checkSameModel(link: Link): void {
    const claimed = this.#claim?.statement.predicate.modelDigest;
    check(link.statement.predicate.modelDigest === claimed, "MODEL_MISMATCH", "the claim names another model");
  }

  #checkApproved({ statement }: Link): void {
    const model = statement.predicate.modelDigest;
    const approved = model !== null && this.#context.approvedModel(model) === true;
    check(approved, "MODEL_NOT_APPROVED", "the model is not approved");
  }
}

/** An admission or release may name the model that it is for; it then holds for no other. */
function checkNamedModel(links: readonly Link[], { statement }: Link): void {
  const model = statement.predicate.modelDigest;
  const named = links.map((link) => link.statement.predicate.modelDigest);
  check(
    named.every((name) => name === null || name === model),
    "MODEL_MISMATCH",
    "this was allowed for another model",
  );
}
