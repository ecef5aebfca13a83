/** Our categories under the names of OpenAI's moderation API; a translation, not a decision. */

const names = [
  "harassment",
  "harassment/threatening",
  "hate",
  "hate/threatening",
  "illicit",
  "illicit/violent",
  "self-harm",
  "self-harm/intent",
  "self-harm/instructions",
  "sexual",
  "sexual/minors",
  "violence",
  "violence/graphic",
] as const;

/** A category that OpenAI has no name for shows in the `sallyport` object alone. */
const ours: Readonly<Record<string, (typeof names)[number]>> = {
  harassment: "harassment",
  hate: "hate",
  illegal: "illicit",
  illicit: "illicit",
  weapons: "illicit/violent",
  "self-harm": "self-harm",
  self_harm: "self-harm",
  sexual: "sexual",
  ncii: "sexual",
  minors: "sexual/minors",
  csae: "sexual/minors",
  "sexual/minors": "sexual/minors",
  sexual_minors: "sexual/minors",
  violence: "violence",
};

export function openAiCategories(
  scores: Readonly<Record<string, number>>,
  findings: readonly { category: string; score: number }[],
) {
  const highest = new Map<string, number>();
  const note = (category: string, score: number) => {
    const name = ours[category.toLowerCase()];
    if (name) highest.set(name, Math.max(highest.get(name) ?? 0, score));
  };
  for (const [category, score] of Object.entries(scores)) note(category, score);
  for (const { category, score } of findings) note(category, score);
  const found = new Set(findings.map(({ category }) => ours[category.toLowerCase()]));
  return {
    categories: Object.fromEntries(names.map((name) => [name, found.has(name)])),
    category_scores: Object.fromEntries(names.map((name) => [name, highest.get(name) ?? 0])),
    category_applied_input_types: Object.fromEntries(names.map((name) => [name, ["text"]])),
  };
}
