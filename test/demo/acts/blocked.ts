import { readFileSync } from "node:fs";
import { model, refusalOf, type Tour } from "../tour.ts";

/** The policy's own test cases: the tour sends one and does not show it. */
const casesFile = new URL("../../../packages/policy/bundles/default/tests/people.json", import.meta.url);

interface Case {
  readonly judge?: { readonly text?: string; readonly stage?: string };
  readonly expect: { readonly codes?: readonly string[] };
}

export async function blocked(tour: Tour): Promise<void> {
  tour.title("An abusive prompt, blocked at door 1");
  tour.say("The prompt is one of the policy's own test cases and is not shown. No model ever sees it.");
  const { cases } = JSON.parse(readFileSync(casesFile, "utf8")) as { cases: Case[] };
  const abusive = cases.find(
    ({ judge, expect }) => judge?.text && !judge.stage && expect.codes?.includes("SEXUAL_NONCONSENSUAL"),
  );
  if (!abusive) throw new Error("the policy's test cases lack a denied prompt");
  const messages = [{ role: "user" as const, content: abusive.judge!.text! }];
  const refusal = await tour
    .openai()
    .chat.completions.create({ model, messages })
    .then(() => undefined, refusalOf);
  tour.must(refusal !== undefined, "refused");
  tour.say(`  │ ${refusal!.code}: ${refusal!.message}`);
  tour.must(/^[A-Z_]+$/.test(refusal!.code), "with a public code that says what to do");
  tour.ended.push({ what: "the blocked prompt", requestId: refusal!.requestId });
}
