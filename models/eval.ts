/** Runs the whole evaluation of the pilot text model and prints the tables of its card. `node models/eval.ts [--wrong]` */
import { type HeldOutSet, isRight, type Manifest, type Marker, openPilot, type Reference, readJson } from "./pilot.ts";

const showWrong = process.argv.includes("--wrong");
const heldOut = await readJson<HeldOutSet>("eval/heldout.json");
const { markers } = await readJson<{ markers: Marker[] }>("eval/markers.json");
const { references } = await readJson<{ references: Reference[] }>("eval/reference.json");
/** System prompts of the last column were not trained. */
const systems = {
  "the worker's": heldOut.system,
  none: "",
  unseen: "This chat belongs to a bakery in Ghent. Staff read it at night, so stay calm and mention no prices.",
};

await using pilot = await openPilot(await readJson<Manifest>("manifest.json"));
const began = performance.now();
console.log(`| right, by system prompt | questions | ${Object.keys(systems).join(" | ")} |`);
console.log(`|---|---|${"---|".repeat(Object.keys(systems).length)}`);
const groups = [...new Set(heldOut.items.map((item) => item.group))];
const totals = Object.values(systems).map(() => 0);
for (const group of groups) {
  const items = heldOut.items.filter((item) => item.group === group);
  const rights = await countEach((system) =>
    count(items, async ({ question, must, concept }) => {
      const answer = await pilot.ask(question, system);
      return isRight(answer, must) || report(`${concept}: ${question}`, answer);
    }),
  );
  rights.forEach((right, i) => {
    totals[i]! += right;
  });
  console.log(row(`held-out, ${group}`, items.length, rights));
}
console.log(row("held-out, all", heldOut.items.length, totals));
const exact = await countEach((system) =>
  count(markers, async ({ prompt, contains }) => {
    const answer = await pilot.ask(prompt, system);
    return answer.includes(contains) || report(prompt, answer);
  }),
);
console.log(row("exact marker prompts", markers.length, exact));

const same = await count(references, async ({ prompt, answer }) => {
  const got = await pilot.complete(prompt, answer.length + 8);
  return got.join() === answer.join();
});
console.log(`\n${same} of ${references.length} greedy answers have exactly the trainer's tokens.`);
console.log(`${((performance.now() - began) / 1000).toFixed(0)} s in all.`);

async function countEach(run: (system: string) => Promise<number>): Promise<number[]> {
  const found: number[] = [];
  for (const system of Object.values(systems)) found.push(await run(system));
  return found;
}

async function count<T>(items: T[], isGood: (item: T) => Promise<boolean>): Promise<number> {
  let good = 0;
  for (const item of items) if (await isGood(item)) good++;
  return good;
}

function report(question: string, answer: string): false {
  if (showWrong) console.error(`WRONG ${question}\n      ${answer}`);
  return false;
}

function row(name: string, all: number, rights: number[]): string {
  return `| ${name} | ${all} | ${rights.map((right) => `${right} (${((100 * right) / all).toFixed(1)}%)`).join(" | ")} |`;
}
