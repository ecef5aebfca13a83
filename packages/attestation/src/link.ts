import { type Envelope, envelopeDigest, verifyEnvelope } from "./dsse.ts";
import { type AttestationCode, AttestationError } from "./errors.ts";
import { decodeStatement, STATEMENT_PAYLOAD_TYPE, type Statement, type Subject, subjectOf } from "./statement.ts";
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
   * For offline audits: judge every expiry as of this time, or "issue": each statement as of its own issue, which
   * proves the chain but not that it was used in time.
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
  /** Where in the chain it may stand; an empty list fits nothing. */
  places: readonly Place[];
  /** Only refusals may carry a hard stop; nothing that releases may. */
  mayHardStop?: boolean;
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
  checkTime(statement, context);
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
function checkTime({ predicate }: Statement, { trust, clock, at }: LinkContext): void {
  const judgedAt = at === "issue" ? new Date(predicate.issuedAt) : (at ?? clock());
  trust.assertCurrent(judgedAt);
  const now = judgedAt.getTime();
  check(Date.parse(predicate.issuedAt) <= now + CLOCK_SKEW_MS, "NOT_YET_VALID", "the statement is from the future");
  check(now < Date.parse(predicate.expiresAt), "EXPIRED", "the statement has expired");
}
