import type { PolicyEngine } from "../engine/engine.ts";
import type {
  DecisionFacts,
  DecisionInput,
  DoorStage,
  Outcome,
  PolicyFinding,
  PolicyIdentity,
  PolicyObligations,
  TextModality,
  TextTrust,
} from "../engine/types.ts";
import { extractLinks, type Link } from "../links/index.ts";
import { normalise } from "../normalise/index.ts";
import type { Hit } from "../rules/schema.ts";
import { type Edit, mergeEdits } from "./edits.ts";
import { type JoinedParts, joinParts } from "./parts.ts";

export interface TextPart {
  text: string;
  trust: TextTrust;
  /** what ends before this offset was judged earlier and is context only; 0 when absent */
  reviewFrom?: number;
}

export interface JudgeInput {
  stage: DoorStage;
  modality: TextModality;
  operation: string;
  identity: PolicyIdentity;
  model: { name: string; tier: string };
  parts: readonly TextPart[];
  /** scores of classifiers that ran before */
  scores?: readonly { category: string; score: number; layer: string }[];
}

export interface Judgement {
  decision: Outcome;
  findings: PolicyFinding[];
  obligations: PolicyObligations;
  /** for each part, what "sanitise" changes in it; ordered, without overlaps; empty for other decisions */
  edits: Edit[][];
  /** for each part, where a construct that is not complete yet may begin (door 2 holds that back) */
  openFrom: number[];
  /** highest score of each category, 0 to 1 */
  scores: Record<string, number>;
  policyDigest: string;
}

/**
 * Judges texts as a whole: normalise, match, find links, decide by policy. Parts are joined, so that what is split over
 * them is seen; every offset is given back within its part. Throws PolicyError when no decision can be made.
 */
export function judge(engine: PolicyEngine, input: JudgeInput): Judgement {
  const joined = joinParts(input.parts);
  const normalised = normalise(joined.text);
  const matched = engine.matcher.match(normalised);
  const extracted = extractLinks(normalised.visible, joined.text, engine.settings.links);
  const hits = matched.hits.filter((hit) => joined.isNew(hit));
  const links = extracted.links.filter((link) => joined.isNew(link));
  const { maxHits, maxLinks } = engine.settings.limits;
  const keptHits = strongest(hits, maxHits);
  const keptLinks = links.slice(0, maxLinks);
  const facts: DecisionFacts = {
    ...normalised.facts,
    length: joined.text.length,
    parts: input.parts.length,
    truncated: matched.truncated || hits.length > maxHits || links.length > maxLinks,
  };
  const openFrom = Math.min(extracted.openFrom, matched.openFrom);
  const output = engine.decide(decisionInput(input, joined, keptHits, keptLinks, facts));
  const edits =
    output.decision === "sanitise"
      ? toEdits(engine, output.sanitise, keptHits, keptLinks, joined, input.parts.length)
      : input.parts.map(() => []);
  return {
    decision: output.decision,
    findings: output.findings,
    obligations: output.obligations,
    edits,
    openFrom: input.parts.map((part, index) =>
      index === input.parts.length - 1 ? openFrom - joined.baseOf(index) : part.text.length,
    ),
    scores: topScores(output.findings),
    policyDigest: engine.digest,
  };
}

function decisionInput(
  input: JudgeInput,
  joined: JoinedParts,
  hits: readonly Hit[],
  links: readonly Link[],
  facts: DecisionFacts,
): DecisionInput {
  const { stage, modality, operation, identity, model } = input;
  return {
    stage,
    modality,
    operation,
    identity: { tenant: identity.tenant, subject: identity.subject, groups: identity.groups },
    model: { name: model.name, tier: model.tier },
    hits: hits.map(({ ruleId, category, severity, view, contexts, ...span }) => {
      return { ruleId, category, severity, view, contexts, trust: joined.trustOf(span) };
    }),
    links: links.map(({ kind, scheme, host, image, obfuscated }) => ({ kind, scheme, host, image, obfuscated })),
    scores: input.scores ?? [],
    facts,
  };
}

/** The most severe hits, in text order. */
function strongest(hits: readonly Hit[], most: number): Hit[] {
  if (hits.length <= most) return [...hits];
  const kept = new Set([...hits].sort((a, b) => b.severity - a.severity || a.start - b.start).slice(0, most));
  return hits.filter((hit) => kept.has(hit));
}

function toEdits(
  engine: PolicyEngine,
  sanitise: { linkIndexes: number[]; mask: number[] },
  hits: readonly Hit[],
  links: readonly Link[],
  joined: JoinedParts,
  parts: number,
): Edit[][] {
  const edits: Edit[][] = Array.from({ length: parts }, () => []);
  const add = (span: { start: number; end: number }, replacement: string, reason: Edit["reason"]): void => {
    for (const { part, start, end } of joined.locate(span)) edits[part]?.push({ start, end, replacement, reason });
  };
  for (const index of sanitise.linkIndexes) add(links[index] as Link, engine.settings.links.replacement, "link");
  for (const index of sanitise.mask) add(hits[index] as Hit, engine.settings.masking.replacement, "mask");
  return edits.map(mergeEdits);
}

function topScores(findings: readonly PolicyFinding[]): Record<string, number> {
  const scores: Record<string, number> = {};
  for (const { category, score } of findings) scores[category] = Math.max(scores[category] ?? 0, score);
  return scores;
}
