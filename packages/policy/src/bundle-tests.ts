import { type PolicyBundle, readJson } from "./engine/bundle.ts";
import { PolicyEngine } from "./engine/engine.ts";
import type { AuthzInput, DecisionInput, DoorStage, TextModality } from "./engine/types.ts";
import { applyEdits } from "./judge/edits.ts";
import { judge, type TextPart } from "./judge/judge.ts";
import { type QuotaSubject, quotaLimitsOf, quotaRulesFor } from "./quotas/quotas.ts";

/** One case of a bundle's tests/*.json. Exactly one of judge, decide, authorise and quotas is set. */
interface TestCase {
  name: string;
  judge?: {
    text?: string;
    parts?: TextPart[];
    stage?: DoorStage;
    modality?: TextModality;
    tier?: string;
    operation?: string;
  };
  decide?: DecisionInput;
  authorise?: AuthzInput;
  quotas?: QuotaSubject;
  expect: {
    decision?: string;
    /** codes that must be among the findings */
    codes?: string[];
    hardStop?: boolean;
    /** the first part after its edits */
    text?: string;
    allow?: boolean;
    reason?: string;
    /** all limits that hold, in order, as `<name>=<limit>` */
    limits?: string[];
  };
}

export interface BundleTestResult {
  name: string;
  passed: boolean;
  /** what differed; never the judged text */
  differences: string[];
}

const tester = { tenant: "test", subject: "tester", groups: ["sallyport-users"] };

/** Runs the JSON cases of a bundle on its own compiled policy and rules. */
export function runBundleTests(bundle: PolicyBundle): BundleTestResult[] {
  const engine = PolicyEngine.create(bundle);
  return [...bundle.files.keys()]
    .filter((path) => path.startsWith("tests/"))
    .sort()
    .flatMap((path) => (readJson(bundle.files, path) as { cases: TestCase[] }).cases)
    .map((test) => runCase(engine, test));
}

function runCase(engine: PolicyEngine, test: TestCase): BundleTestResult {
  let differences: string[];
  try {
    differences = compare(test.expect, outcomeOf(engine, test));
  } catch (error) {
    differences = [error instanceof Error ? error.message : "failed"];
  }
  return { name: test.name, passed: differences.length === 0, differences };
}

function outcomeOf(engine: PolicyEngine, test: TestCase): TestCase["expect"] {
  if (test.authorise !== undefined) return engine.authorise(test.authorise);
  if (test.decide !== undefined) {
    const { decision, findings } = engine.decide(test.decide);
    return { decision, codes: findings.map(({ code }) => code), hardStop: findings.some(({ hardStop }) => hardStop) };
  }
  if (test.quotas !== undefined) {
    const limits = quotaRulesFor(engine.settings.quotas, test.quotas).flatMap(quotaLimitsOf);
    return { limits: limits.map(({ name, limit }) => `${name}=${limit}`) };
  }
  if (test.judge === undefined) throw new TypeError("a case needs judge, decide, authorise or quotas");
  const { text, parts, stage = "door1", modality = "text", tier = "standard", operation = "chat" } = test.judge;
  const trust = stage === "door1" ? "caller" : "model";
  const judged = parts ?? [{ text: text ?? "", trust } as const];
  const result = judge(engine, {
    stage,
    modality,
    operation,
    identity: tester,
    model: { name: "test", tier },
    parts: judged,
  });
  return {
    decision: result.decision,
    codes: result.findings.map(({ code }) => code),
    hardStop: result.findings.some(({ hardStop }) => hardStop),
    text: applyEdits(judged[0]?.text ?? "", result.edits[0] ?? []),
  };
}

function compare(expected: TestCase["expect"], actual: TestCase["expect"]): string[] {
  const differences: string[] = [];
  for (const key of ["decision", "hardStop", "allow", "reason"] as const) {
    if (expected[key] !== undefined && expected[key] !== actual[key]) {
      differences.push(`${key}: expected ${expected[key]}, got ${actual[key]}`);
    }
  }
  for (const code of expected.codes ?? []) {
    if (!actual.codes?.includes(code))
      differences.push(`code ${code} is missing among ${actual.codes?.join(", ") || "none"}`);
  }
  if (expected.limits !== undefined && expected.limits.join() !== actual.limits?.join())
    differences.push(`limits: expected ${expected.limits.join(", ")}, got ${actual.limits?.join(", ") ?? "none"}`);
  if (expected.text !== undefined && expected.text !== actual.text) differences.push("the edited text differs");
  return differences;
}
