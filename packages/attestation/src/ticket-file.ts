import { saltedDigest } from "./bodies.ts";
import type { Envelope } from "./dsse.ts";
import { envelopeReader, envelopeToJson } from "./envelope-json.ts";
import { refusing, TicketError } from "./errors.ts";
import { decodeBase64, encodeBase64 } from "./json.ts";
import { array, digest, identifier, integer, object, oneOf, type Reader, token } from "./readers.ts";
import { decodeStatement, sentDigestOf } from "./statement.ts";
import { TicketVerifier } from "./ticket.ts";
import type { TrustBundle } from "./trust.ts";
import { MODALITIES } from "./vocabulary.ts";

const base64: Reader<Uint8Array> = (value, field) => decodeBase64(typeof value === "string" ? value : "?", field);
const ticketReader = object(
  {
    requestId: identifier,
    tenant: token,
    attempt: integer(1, 1_000),
    modality: oneOf(MODALITIES),
    salt: base64,
    requestDigest: digest,
    admission: array(envelopeReader, 1, 3),
    claim: envelopeReader,
    windows: array(object({ envelope: envelopeReader, content: base64 }, { mark: envelopeReader }), 0, 100_000),
  },
  {
    end: envelopeReader,
    lastMark: envelopeReader,
    held: object({ hold: envelopeReader, review: envelopeReader, countersign: envelopeReader, content: base64 }),
  },
);

/**
 * Everything needed to check one release offline. `admission` is door 1, or door 1, review and countersign; `end` is
 * door 2's deny or hold that stopped a stream; `held` is a whole output released by a person; `lastMark` is the mark of
 * an image that has no window, being denied or held. In the file envelopes are DSSE JSON, and salt (32 bytes) and
 * contents are base64. The file holds the output in the clear: keep it accordingly.
 */
export type ReleaseTicket = ReturnType<typeof ticketReader>;

export interface TicketOptions {
  /** See LinkContext.at. */
  at?: Date | "issue";
  clock?: () => Date;
  /** Absent: the claim's model is taken as approved then; `models` of the result says which to look up. */
  approvedModel?: (modelDigest: string) => boolean;
  /** The request as its caller sent it, where it is known: the output must answer just that. */
  sent?: Uint8Array;
  /** Accept a ticket whose stream has no end: one of an attempt that broke off. */
  partial?: boolean;
}

export interface TicketReport {
  requestId: string;
  outcome: "complete" | "stopped" | "held" | "released-by-person" | "partial";
  windows: number;
  bytes: number;
  modelDigest: string;
  /** Door 1 changed the request before it let it in. */
  requestSanitised: boolean;
  final: boolean;
}

export function encodeReleaseTicket(ticket: ReleaseTicket): string {
  const plain = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return encodeBase64(value);
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== "object" || value === null) return value;
    if ("payloadType" in value) return envelopeToJson(value as Envelope);
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  };
  return `${JSON.stringify(plain(ticket), undefined, 2)}\n`;
}

/** Verifies a ticket file as the gateway did. Throws TicketError; TRUNCATED for a stream without its end. */
export function verifyReleaseTicket(json: string, trust: TrustBundle, options: TicketOptions = {}): TicketReport {
  return refusing(() => {
    const ticket = decode(json);
    const verifier = new TicketVerifier({
      ...ticket,
      ...(options.sent && { sentDigest: saltedDigest(ticket.salt, options.sent) }),
      trust,
      clock: options.clock ?? (() => new Date()),
      at: options.at,
      approvedModel: options.approvedModel ?? (() => true),
    });
    const { door1, claim } = begin(verifier, ticket);
    let final = false;
    let bytes = 0;
    for (const { envelope, content, mark } of ticket.windows) {
      if (mark !== undefined) verifier.mark(mark);
      final = verifier.window(envelope, content).final;
      bytes += content.length;
    }
    const outcome = finish(verifier, ticket, final);
    if (outcome === "partial" && options.partial !== true) {
      throw new TicketError("TRUNCATED", "the ticket has no end: parts of it may be missing");
    }
    const modelDigest = claim.statement.predicate.modelDigest!;
    bytes += ticket.held?.content.length ?? 0;
    const { requestId, requestDigest, windows } = ticket;
    const requestSanitised = sentDigestOf(decodeStatement(door1.payload)) !== requestDigest;
    return { requestId, outcome, windows: windows.length, bytes, modelDigest, requestSanitised, final };
  });
}

function decode(json: string): ReleaseTicket {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new TicketError("FIELD_INVALID", "the ticket is not JSON", { cause });
  }
  return ticketReader(value, "");
}

function begin(verifier: TicketVerifier, ticket: ReleaseTicket) {
  const [door1, review, countersign] = ticket.admission;
  if (review !== undefined && countersign === undefined) {
    throw new TicketError("TRUNCATED", "a review releases nothing without its countersignature");
  }
  verifier.admit(door1!, review && countersign ? { review, countersign } : undefined);
  return { door1: door1!, claim: verifier.claim(ticket.claim) };
}

function finish(
  verifier: TicketVerifier,
  { end, held, lastMark }: ReleaseTicket,
  final: boolean,
): TicketReport["outcome"] {
  if (lastMark !== undefined) verifier.mark(lastMark);
  const stopped = end === undefined ? undefined : verifier.decisionOnly(end).statement.predicate.decision;
  if (held !== undefined) {
    verifier.heldOutput(held.hold, held.review, held.countersign, held.content);
    return "released-by-person";
  }
  if (stopped !== undefined) return stopped === "hold" ? "held" : "stopped";
  return final ? "complete" : "partial";
}
