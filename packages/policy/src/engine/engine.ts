import { PolicyError } from "../errors.ts";
import { compileMatcher, type Matcher } from "../rules/matcher.ts";
import { bundleDigest, type PolicyBundle } from "./bundle.ts";
import { Evaluator } from "./evaluator.ts";
import type { PolicySettings } from "./settings.ts";
import { type AuthzInput, type AuthzOutput, type DecisionInput, type DecisionOutput, outcomes } from "./types.ts";

/**
 * One bundle, ready to decide. Evaluation is synchronous and deterministic: the same input gives the same output.
 * Fails closed: whatever goes wrong is a PolicyError POLICY_UNAVAILABLE, never a decision.
 */
export class PolicyEngine {
  /** Hex SHA-256 of the bundle's contents; named in every verdict. */
  readonly digest: string;
  readonly settings: PolicySettings;
  readonly matcher: Matcher;
  readonly #evaluator: Evaluator;

  private constructor(digest: string, settings: PolicySettings, matcher: Matcher, evaluator: Evaluator) {
    this.digest = digest;
    this.settings = settings;
    this.matcher = matcher;
    this.#evaluator = evaluator;
  }

  /** Compiles rules and policy once; throws BUNDLE_INVALID. */
  static create(bundle: PolicyBundle): PolicyEngine {
    const matcher = rethrow(() => compileMatcher(bundle.ruleFiles, bundle.settings.matching));
    const evaluator = new Evaluator(bundle.wasm, bundle.data as object);
    return new PolicyEngine(bundleDigest(bundle), bundle.settings, matcher, evaluator);
  }

  decide(input: DecisionInput): DecisionOutput {
    const output = this.#evaluator.evaluate("sallyport/decision", input);
    if (!isDecision(output)) throw new PolicyError("POLICY_UNAVAILABLE", "the policy gave a malformed decision");
    return output;
  }

  authorise(input: AuthzInput): AuthzOutput {
    const output = this.#evaluator.evaluate("sallyport/authz", input);
    if (!isAuthz(output)) throw new PolicyError("POLICY_UNAVAILABLE", "the policy gave a malformed answer");
    return output;
  }

  /** Public words for a reason code; undefined for a code that the bundle does not document. */
  describe(code: string): { message: string; whatToDo: string } | undefined {
    return Object.hasOwn(this.settings.codes, code) ? this.settings.codes[code] : undefined;
  }

  /** Bytes of WebAssembly memory in use. */
  get memoryBytes(): number {
    return this.#evaluator.memoryBytes;
  }
}

function rethrow<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new PolicyError("BUNDLE_INVALID", cause instanceof Error ? cause.message : "bad rules", cause);
  }
}

function isDecision(value: unknown): value is DecisionOutput {
  const output = value as DecisionOutput;
  return (
    outcomes.includes(output?.decision) &&
    Array.isArray(output.findings) &&
    output.findings.every(isFinding) &&
    typeof output.obligations?.secondReviewer === "boolean" &&
    Number.isSafeInteger(output.obligations.holdMs) &&
    output.obligations.holdMs >= 0 &&
    typeof output.obligations.retention === "string" &&
    areIndexes(output.sanitise?.linkIndexes) &&
    areIndexes(output.sanitise?.mask)
  );
}

function isFinding(value: DecisionOutput["findings"][number]): boolean {
  return (
    typeof value?.code === "string" &&
    typeof value.category === "string" &&
    typeof value.layer === "string" &&
    typeof value.hardStop === "boolean" &&
    value.score >= 0 &&
    value.score <= 1
  );
}

function areIndexes(value: unknown): boolean {
  return Array.isArray(value) && value.every((index) => Number.isSafeInteger(index) && index >= 0);
}

function isAuthz(value: unknown): value is AuthzOutput {
  const output = value as AuthzOutput;
  return typeof output?.allow === "boolean" && typeof output.reason === "string";
}
