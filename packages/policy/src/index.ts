export { type BundleTestResult, runBundleTests } from "./bundle-tests.ts";
export {
  bundleDigest,
  maxPackedBytes,
  type PolicyBundle,
  packBundle,
  readBundle,
  unpackBundle,
} from "./engine/bundle.ts";
export { PolicyEngine } from "./engine/engine.ts";
export { defaultBundleDir, loadBundle, readBundleFiles } from "./engine/load.ts";
export type { PolicyManifest } from "./engine/manifest.ts";
export type { PolicySettings } from "./engine/settings.ts";
export { bundleFromState, type PolicyState, policyFromState, policyToState } from "./engine/state.ts";
export type {
  AuthzInput,
  AuthzOutput,
  AuthzResource,
  DecisionFacts,
  DecisionHit,
  DecisionInput,
  DecisionLink,
  DecisionOutput,
  DoorStage,
  Outcome,
  PolicyFinding,
  PolicyIdentity,
  PolicyObligations,
  TextModality,
  TextTrust,
} from "./engine/types.ts";
export { PolicyError, type PolicyErrorCode } from "./errors.ts";
export { applyEdits, type Edit } from "./judge/edits.ts";
export { type JudgeInput, type Judgement, judge, type TextPart } from "./judge/judge.ts";
export { extractLinks, type Link, type LinkResult, type LinkSettings } from "./links/index.ts";
export { type Normalised, normalise, type View, type ViewName, viewNames } from "./normalise/index.ts";
export {
  describeQuotas,
  type QuotaLimit,
  type QuotaMeter,
  type QuotaRule,
  type QuotaSubject,
  quotaLimitsOf,
  quotaMeters,
  quotaRulesFor,
} from "./quotas/quotas.ts";
export { compileMatcher, type Matcher, type MatcherSettings, type MatchResult } from "./rules/matcher.ts";
export type { Hit, Rule, RuleFile } from "./rules/schema.ts";
