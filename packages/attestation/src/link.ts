import { type Envelope, envelopeDigest, verifyEnvelope } from "./dsse.ts";
import { type AttestationCode, AttestationError } from "./errors.ts";
import {
  decodeStatement,
  STATEMENT_PAYLOAD_TYPE,
  type Statement,
  type Subject,
  sentDigestOf,
  subjectOf,
} from "./statement.ts";
import { CLOCK_SKEW_MS, type TrustBundle } from "./trust.ts";
import type { Decision, Modality, Stage } from "./vocabulary.ts";

/** Whom and what a chain is about, and which time it is judged by. */
export interface LinkContext {
  trust: TrustBundle;
  requestId: string;
  tenant: string;
  modality: Modality;
  clock: () => Date;
  /**
   * Absent: everything is judged by the clock. A time, for audits: everything is judged as of then. "issue": no statement
   * is asked whether it is still in time; this proves the chain, not that it was used in time. Read at every step: who
   * rebuilds a verifier from a ledger that was in time may clear it before what comes next.
   */
  at?: Date | "issue";
}

/** A place in a chain: after the envelope with digest `prev` (null: at the beginning), as part `index`. */
export interface Place {
  index: number;
  prev: string | null;
}

/** What the next envelope of a chain must say. */
export interface LinkExpectation {
  stage: Stage;
  attempt: number;
  decisions: readonly Decision[];
  /** Without a digest any bytes of that name will do. */
  subject: { name: Subject["name"]; digest?: string };
  /** For door 1: what it was asked about, which is another digest than the subject's where it sanitised. */
  sentDigest?: string;
  /** Where in the chain it may stand; an empty list fits nothing. */
  places: readonly Place[];
  /** Only refusals may carry a hard stop; nothing that releases may. */
  mayHardStop?: boolean;
  /** For a hold, which waits for a person: their decision, made later, is what has to be in time. */
  mayHaveExpired?: boolean;
}

/** A verified envelope. `digest` is what the next one's `prev` must be. */
export interface Link {
  statement: Statement;
  digest: string;
  keyid: string;
}

/** Verifies one envelope completely, or throws AttestationError: signature first, nothing is parsed before it. */
export function verifyLink(envelope: Envelope, context: LinkContext, expected: LinkExpectation): Link {
  const { trust } = context;
  const verified = verifyEnvelope(envelope, STATEMENT_PAYLOAD_TYPE, (keyid) => trust.key(keyid));
  const statement = decodeStatement(verified.payload);
  const { predicate } = statement;
  trust.keyFor(verified.keyid, predicate.stage, new Date(predicate.issuedAt));
  checkTime(statement, context, expected.mayHaveExpired);
  check(predicate.stage === expected.stage, "STAGE_UNEXPECTED", `stage ${expected.stage} must sign here`);
  check(predicate.requestId === context.requestId, "REQUEST_MISMATCH", "the statement is about another request");
  check(predicate.tenant === context.tenant, "TENANT_MISMATCH", "the statement is about another tenant");
  check(predicate.attempt === expected.attempt, "ATTEMPT_MISMATCH", "the statement is about another attempt");
  check(predicate.modality === context.modality, "MODALITY_MISMATCH", "the statement is about another modality");
  const wanted = expected.decisions.join(" or ");
  check(expected.decisions.includes(predicate.decision), "DECISION_REFUSED", `the decision is not ${wanted}`);
  const stopped = predicate.findings.some((finding) => finding.hardStop);
  check(!stopped || expected.mayHardStop === true, "HARD_STOP", "a hard stop is never released");
  checkSubject(subjectOf(statement), expected.subject);
  const wasSent = expected.sentDigest === undefined || sentDigestOf(statement) === expected.sentDigest;
  check(wasSent, "REQUEST_MISMATCH", "the statement is about a request that was sent otherwise");
  const places = expected.places.filter((place) => place.prev === predicate.prev);
  check(places.length > 0, "CHAIN_BROKEN", "the statement does not follow this chain");
  const inPlace = places.some((place) => place.index === predicate.index);
  check(inPlace, "INDEX_MISMATCH", "the statement is about another part of the output");
  return { statement, digest: envelopeDigest(envelope), keyid: verified.keyid };
}

export function check(holds: boolean, code: AttestationCode, message: string): asserts holds {
  if (!holds) throw new AttestationError(code, message);
}

function checkSubject(found: Subject, expected: LinkExpectation["subject"]): void {
  const sameBytes = expected.digest === undefined || found.digest === expected.digest;
  check(found.name === expected.name && sameBytes, "SUBJECT_MISMATCH", "the statement is about other bytes");
}

// Both comparisons are written so that an invalid date refuses.
function checkTime({ predicate }: Statement, { trust, clock, at }: LinkContext, mayHaveExpired = false): void {
  const now = at instanceof Date ? at : clock();
  trust.assertCurrent(now);
  const isPast = Date.parse(predicate.issuedAt) <= now.getTime() + CLOCK_SKEW_MS;
  check(isPast, "NOT_YET_VALID", "the statement is from the future");
  const inTime = at === "issue" || mayHaveExpired || now.getTime() < Date.parse(predicate.expiresAt);
  check(inTime, "EXPIRED", "the statement has expired");
}
