export {
  type BodyContext,
  createRequestSecret,
  joinSecret,
  open,
  type Random,
  type RequestSecret,
  SECRET_BYTES,
  saltedDigest,
  seal,
  splitSecret,
} from "./bodies.ts";
export {
  createSigner,
  type Envelope,
  envelopeDigest,
  keyIdOf,
  MAX_PAYLOAD_BYTES,
  preAuthEncoding,
  type Signer,
  signEnvelope,
  type VerifiedEnvelope,
  verifyEnvelope,
} from "./dsse.ts";
export { decodeEnvelopeJson, type EnvelopeJson, encodeEnvelopeJson, envelopeToJson } from "./envelope-json.ts";
export { type AttestationCode, AttestationError, TicketError } from "./errors.ts";
export { canonicalBytes, type Json, parseCanonical } from "./json.ts";
export { type Link, type LinkContext, type LinkExpectation, type Place, verifyLink } from "./link.ts";
export { type DecryptionKeys, recipientKid, unwrapSecret, type WrappedSecret, wrapSecret } from "./secrets.ts";
export {
  BREAK_GLASS,
  MAX_STATE_BYTES,
  STATE_PAYLOAD_TYPE,
  type StateExpectation,
  type StateValue,
  signState,
  stateStage,
  verifyState,
} from "./state.ts";
export {
  createStatement,
  decodeStatement,
  encodeStatement,
  type Finding,
  type Predicate,
  roundScore,
  STATEMENT_PAYLOAD_TYPE,
  type Statement,
  type Subject,
  sentDigestOf,
  signStatement,
  subjectOf,
} from "./statement.ts";
export { type Release, type Released, type TicketContext, TicketVerifier } from "./ticket.ts";
export {
  encodeReleaseTicket,
  type ReleaseTicket,
  type TicketOptions,
  type TicketReport,
  verifyReleaseTicket,
} from "./ticket-file.ts";
export {
  CLOCK_SKEW_MS,
  createTrustBundle,
  type EncryptionKey,
  loadTrustBundle,
  readRootKey,
  TRUST_PAYLOAD_TYPE,
  type TrustBundle,
} from "./trust.ts";
export type { TrustContents, TrustEncryptionKey, TrustKey, TrustLog } from "./trust-contents.ts";
export {
  DECISIONS,
  type Decision,
  KEY_STAGES,
  type KeyStage,
  MODALITIES,
  type Modality,
  ROLES,
  STAGE_RULES,
  STAGES,
  type Stage,
  type StageRule,
  SUBJECTS,
  type SubjectName,
} from "./vocabulary.ts";
