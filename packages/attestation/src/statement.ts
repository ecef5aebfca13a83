import { type Envelope, type Signer, signEnvelope } from "./dsse.ts";
import { AttestationError } from "./errors.ts";
import { canonicalBytes, invalid, parseCanonical } from "./json.ts";
import {
  array,
  digest,
  flag,
  identifier,
  instant,
  integer,
  label,
  nullable,
  object,
  oneOf,
  type Reader,
  token,
} from "./readers.ts";
import { DECISIONS, MODALITIES, STAGE_RULES, STAGES, SUBJECTS } from "./vocabulary.ts";

/** DSSE payload type of in-toto statements. */
export const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "https://sallyport.dev/attestation/decision/v1";
const MAX_LIFETIME_MS = 31 * 24 * 3600 * 1000;

/** 0 to 1 with at most six decimals, so that a score has one spelling whatever computed it. */
const score: Reader<number> = (value, field) => {
  if (typeof value !== "number" || !(value >= 0 && value <= 1) || value !== roundScore(value)) {
    throw invalid(field, "must be from 0 to 1 with at most six decimals");
  }
  return value;
};

const finding = object({ code: token, category: token, score, hardStop: flag, layer: token });
const predicate = object(
  {
    requestId: identifier,
    attempt: integer(0, 1_000),
    tenant: token,
    stage: oneOf(STAGES),
    modality: oneOf(MODALITIES),
    decision: oneOf(DECISIONS),
    findings: array(finding, 0, 64),
    policyDigest: nullable(digest),
    modelDigest: nullable(digest),
    index: integer(0, 1_000_000),
    prev: nullable(digest),
    final: flag,
    issuedAt: instant,
    expiresAt: instant,
  },
  {
    parameters: object({ runId: identifier, seed: integer(0), paramsDigest: digest, engine: token }),
    reviewer: object({ subject: label, justificationDigest: digest }, { secondSubject: label }),
    sentDigest: digest,
  },
);
const statement = object({
  _type: oneOf([STATEMENT_TYPE]),
  subject: array(object({ name: oneOf(SUBJECTS), digest: object({ "sha256-salted": digest }) }), 1, 1),
  predicateType: oneOf([PREDICATE_TYPE]),
  predicate,
});

/** One reason for a decision: public code, category, score 0 to 1, whether it may never be overruled, which layer. */
export type Finding = ReturnType<typeof finding>;
/** What a stage decided. Digests are lower-case hex SHA-256 or null, times are UTC with milliseconds. */
export type Predicate = ReturnType<typeof predicate>;
/** in-toto Statement v1 with exactly one subject, the salted digest of the bytes decided on. */
export type Statement = ReturnType<typeof statement>;

export interface Subject {
  name: Statement["subject"][number]["name"];
  /** Hex SHA-256(salt ‖ bytes), see saltedDigest. */
  digest: string;
}

/** Rounds to the six decimals that a finding may have, and clamps to 0..1. NaN stays NaN and is then refused. */
export function roundScore(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value)) * 1e6) / 1e6;
}

export function createStatement(subject: Subject, body: Predicate): Statement {
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: subject.name, digest: { "sha256-salted": subject.digest } }],
    predicateType: PREDICATE_TYPE,
    predicate: body,
  };
}

export function subjectOf(found: Statement): Subject {
  const [subject] = found.subject;
  return { name: subject!.name, digest: subject!.digest["sha256-salted"] };
}

/** Digest of the request as its caller sent it: the subject's, unless door 1 changed it and says so. */
export function sentDigestOf(found: Statement): string {
  return found.predicate.sentDigest ?? subjectOf(found).digest;
}

/** Canonical bytes of a valid statement. Throws what decodeStatement would: nothing is signed that nobody accepts. */
export function encodeStatement(value: Statement): Uint8Array {
  const bytes = canonicalBytes(value);
  decodeStatement(bytes);
  return bytes;
}

/** Throws NOT_CANONICAL or FIELD_INVALID (with `field`). */
export function decodeStatement(payload: Uint8Array): Statement {
  const result = statement(parseCanonical(payload), "");
  checkStageRules(result);
  return result;
}

/** Throws WRONG_STAGE when the signer is another stage's. */
export function signStatement(value: Statement, signer: Signer): Envelope {
  if (signer.stage !== value.predicate.stage) {
    throw new AttestationError("WRONG_STAGE", `a ${signer.stage} key does not sign for ${value.predicate.stage}`);
  }
  return signEnvelope(STATEMENT_PAYLOAD_TYPE, encodeStatement(value), signer);
}

function checkStageRules({ subject, predicate: p }: Statement): void {
  const rule = STAGE_RULES[p.stage];
  const must = (holds: boolean, field: string, problem: string) => {
    if (!holds) throw invalid(`predicate.${field}`, `${problem} for stage ${p.stage}`);
  };
  must(rule.decisions.includes(p.decision), "decision", `must be ${rule.decisions.join(", ")}`);
  if (!rule.subjects.includes(subject[0]!.name)) throw invalid("subject[0].name", `does not fit stage ${p.stage}`);
  must(rule.attempt !== "before" || p.attempt === 0, "attempt", "must be 0");
  must(rule.attempt !== "within" || p.attempt > 0, "attempt", "must be 1 or more");
  must(rule.indexed || p.index === 0, "index", "must be 0");
  must(rule.mayBeFinal || !p.final, "final", "must be false");
  must(
    (p.prev !== null) === (rule.prev === "required"),
    "prev",
    `must be ${rule.prev === "required" ? "set" : "null"}`,
  );
  for (const name of ["policyDigest", "modelDigest", "parameters", "reviewer"] as const) {
    const present = p[name] !== null && p[name] !== undefined;
    must(rule[name] !== "required" || present, name, "must be set");
    must(rule[name] !== "absent" || !present, name, "must not be set");
  }
  const changed = rule.sentDigest === "sanitise" && p.decision === "sanitise";
  must((p.sentDigest !== undefined) === changed, "sentDigest", `must ${changed ? "" : "not "}be set`);
  must(p.reviewer === undefined || p.reviewer.subject !== p.reviewer.secondSubject, "reviewer", "needs two people");
  const lifetime = Date.parse(p.expiresAt) - Date.parse(p.issuedAt);
  must(lifetime > 0 && lifetime <= MAX_LIFETIME_MS, "expiresAt", "must be after issuedAt by at most 31 days");
}
