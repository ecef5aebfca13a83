/** The stages that decide about a request, in the order in which they sign. */
export const STAGES = ["door1", "worker", "watermarker", "door2", "review", "countersign"] as const;
export type Stage = (typeof STAGES)[number];

/** What a key may be appointed for: a stage, governance's state values, or the operator's break-glass switches alone. */
export const KEY_STAGES = [...STAGES, "state", "switch"] as const;
export type KeyStage = (typeof KEY_STAGES)[number];

export const DECISIONS = ["allow", "deny", "hold", "sanitise", "claim"] as const;
export type Decision = (typeof DECISIONS)[number];

export const MODALITIES = ["text", "image"] as const;
export type Modality = (typeof MODALITIES)[number];

export const SUBJECTS = ["request", "output"] as const;
export type SubjectName = (typeof SUBJECTS)[number];

type Presence = "required" | "optional" | "absent";

export interface StageRule {
  decisions: readonly Decision[];
  subjects: readonly SubjectName[];
  /** "before": attempt 0, as the stage precedes every attempt; "within": 1 or more. */
  attempt: "before" | "within" | "either";
  /** Only door 2 and the watermarker see an output in parts; everything else speaks once, with index 0. */
  indexed: boolean;
  mayBeFinal: boolean;
  prev: "required" | "absent";
  policyDigest: Presence;
  modelDigest: Presence;
  parameters: Presence;
  reviewer: Presence;
  /** "sanitise": with that decision, whose subject is no longer what was sent, it is required; with others absent. */
  sentDigest: "sanitise" | "absent";
}

const door = {
  indexed: false,
  mayBeFinal: true,
  parameters: "absent",
  reviewer: "absent",
  sentDigest: "absent",
} as const;
const person = {
  decisions: ["allow", "deny"],
  subjects: ["request", "output"],
  attempt: "either",
  indexed: false,
  mayBeFinal: true,
  prev: "required",
  policyDigest: "optional",
  modelDigest: "optional",
  parameters: "absent",
  sentDigest: "absent",
} as const;

/** Which stage may say what about what. The only place where this is written. */
export const STAGE_RULES: Record<Stage, StageRule> = {
  door1: {
    ...door,
    decisions: ["allow", "deny", "hold", "sanitise"],
    subjects: ["request"],
    attempt: "before",
    prev: "absent",
    policyDigest: "required",
    modelDigest: "optional",
    sentDigest: "sanitise",
  },
  worker: {
    decisions: ["claim"],
    subjects: ["request"],
    attempt: "within",
    indexed: false,
    mayBeFinal: false,
    prev: "required",
    policyDigest: "absent",
    modelDigest: "required",
    parameters: "required",
    reviewer: "absent",
    sentDigest: "absent",
  },
  watermarker: {
    decisions: ["claim"],
    subjects: ["output"],
    attempt: "within",
    indexed: true,
    mayBeFinal: false,
    prev: "required",
    policyDigest: "absent",
    modelDigest: "required",
    parameters: "absent",
    reviewer: "absent",
    sentDigest: "absent",
  },
  door2: {
    ...door,
    decisions: ["allow", "deny", "hold", "sanitise"],
    subjects: ["output"],
    attempt: "within",
    indexed: true,
    prev: "required",
    policyDigest: "required",
    modelDigest: "required",
  },
  review: { ...person, reviewer: "required" },
  countersign: { ...person, policyDigest: "required", reviewer: "absent" },
};

/**
 * One key, one role: a key (and every key of its service) serves stages of one group only, so that no single break-in
 * can both ask for a release and grant it.
 */
export const ROLES: readonly (readonly KeyStage[])[] = [
  ["door1"],
  ["worker"],
  ["watermarker"],
  ["door2", "countersign"],
  ["review", "state"],
  ["switch"],
];
