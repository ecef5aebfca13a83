/** What the Rego of a bundle is given and gives back. Offsets never reach it: it decides about facts. */

const doorStages = ["door1", "door2"] as const;
export type DoorStage = (typeof doorStages)[number];

export const outcomes = ["allow", "deny", "hold", "sanitise"] as const;
export type Outcome = (typeof outcomes)[number];

export type TextModality = "text" | "image_prompt";

/** Who wrote a text: the caller, somebody that nobody vouches for, or the model. */
export type TextTrust = "caller" | "untrusted" | "model";

export interface PolicyIdentity {
  tenant: string;
  subject: string;
  issuer?: string;
  groups: readonly string[];
}

export interface DecisionInput {
  stage: DoorStage;
  modality: TextModality;
  /** what the caller asked for, such as "chat" or "moderate" */
  operation: string;
  identity: PolicyIdentity;
  model: { name: string; tier: string };
  hits: readonly DecisionHit[];
  links: readonly DecisionLink[];
  /** classifier scores, 0 to 1 */
  scores: readonly { category: string; score: number; layer: string }[];
  facts: DecisionFacts;
}

export interface DecisionHit {
  ruleId: string;
  category: string;
  severity: number;
  view: string;
  contexts: readonly string[];
  trust: TextTrust;
}

export interface DecisionLink {
  kind: string;
  scheme: string;
  host: string;
  image: boolean;
  obfuscated: boolean;
}

export interface DecisionFacts {
  /** UTF-16 units judged */
  length: number;
  parts: number;
  /** more hits or links than are kept */
  truncated: boolean;
  invisible: number;
  bidi: number;
  tags: number;
  marks: number;
  lookalikes: boolean;
  spacedOut: boolean;
}

export interface PolicyFinding {
  /** public reason code */
  code: string;
  category: string;
  /** 0 to 1 */
  score: number;
  hardStop: boolean;
  /** which layer saw it: rules, links, normalisation, policy, or a classifier */
  layer: string;
  /** what this finding alone leads to: allow, mask, remove, hold or deny */
  action: string;
}

export interface PolicyObligations {
  secondReviewer: boolean;
  /** how long a hold waits for a person, in milliseconds; 0 when nothing is held */
  holdMs: number;
  /** retention class of the bodies */
  retention: string;
}

export interface DecisionOutput {
  decision: Outcome;
  findings: PolicyFinding[];
  obligations: PolicyObligations;
  sanitise: { links: string; linkIndexes: number[]; mask: number[] };
}

/** What an action is about; what is absent is not asked about. */
export interface AuthzResource {
  model?: string;
  tier?: string;
  tenant?: string;
  /** Everybody's, such as a model: for those whose groups make them staff of the platform. */
  platform?: boolean;
  ownerSubject?: string;
  /** Where the subject is known to be of one issuer. */
  ownerIssuer?: string;
}

export interface AuthzInput {
  identity: PolicyIdentity;
  /** for instance chat, request.read, review.decide; the list is data */
  action: string;
  resource: AuthzResource;
}

export interface AuthzOutput {
  allow: boolean;
  /** OK, or why not: NO_ROLE, NOT_PERMITTED, MODEL_NOT_PERMITTED, PLATFORM_ONLY, WRONG_TENANT, NOT_OWNER, OWN_ITEM, … */
  reason: string;
}
