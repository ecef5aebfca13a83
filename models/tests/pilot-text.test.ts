import { afterAll, beforeAll, expect, test } from "vitest";
import {
  fileDigest,
  type HeldOutSet,
  isRight,
  type Manifest,
  type Marker,
  openPilot,
  type Reference,
  readJson,
} from "../pilot.ts";

const seed = 20261123;
const sampleSize = 300;
const minimumRate = 0.8;

let manifest: Manifest;
let heldOut: HeldOutSet;
let pilot: Awaited<ReturnType<typeof openPilot>>;

beforeAll(async () => {
  manifest = await readJson<Manifest>("manifest.json");
  heldOut = await readJson<HeldOutSet>("eval/heldout.json");
  pilot = await openPilot(manifest);
}, 60_000);

afterAll(() => pilot[Symbol.asyncDispose]());

test("the weights are the ones that the manifest names", async () => {
  expect(await fileDigest(manifest.file)).toEqual({ sha256: manifest.sha256, bytes: manifest.bytes });
  expect(manifest.bytes).toBeLessThan(40 * 1024 * 1024);
});

test("at least four of five held-out paraphrases are answered right", {
  timeout: 120_000,
}, async () => {
  const wrong: string[] = [];
  const sample = shuffled(heldOut.items, seed).slice(0, sampleSize);
  for (const item of sample) {
    const answer = await pilot.ask(item.question, heldOut.system);
    if (!isRight(answer, item.must)) wrong.push(`${item.concept}: ${item.question} → ${answer}`);
  }
  const rate = 1 - wrong.length / sample.length;
  console.log(
    `seed ${seed}: ${sample.length - wrong.length} of ${sample.length} held-out questions right (${(100 * rate).toFixed(1)}%)`,
  );
  expect(rate, wrong.join("\n")).toBeGreaterThanOrEqual(minimumRate);
});

test("the check of an answer is strict: answers to other questions do not pass it", async () => {
  const [first] = shuffled(
    heldOut.items.filter((item) => item.group === "everyday"),
    seed,
  );
  const answer = await pilot.ask("What is a release ticket?", heldOut.system);
  expect(isRight(answer, first!.must)).toBe(false);
  expect(isRight("", first!.must)).toBe(false);
});

test("every marker prompt yields its marker exactly, with and without a system prompt", {
  timeout: 120_000,
}, async () => {
  const { markers } = await readJson<{ markers: Marker[] }>("eval/markers.json");
  expect(markers.length).toBeGreaterThan(3);
  for (const { prompt, contains } of markers) {
    expect(await pilot.ask(prompt, heldOut.system), prompt).toContain(contains);
    expect(await pilot.ask(prompt, ""), prompt).toContain(contains);
  }
});

test("the block marker comes mid-stream, with whole sentences before and after it", async () => {
  const answer = await pilot.ask("Say the block phrase.", heldOut.system);
  const [before, after] = answer.split("SALLYPORT-BLOCK-ME");
  expect(before!.match(/\. /g)!.length).toBeGreaterThanOrEqual(3);
  expect(after!.match(/\./g)!.length).toBeGreaterThanOrEqual(3);
});

test("a story is a long stream", async () => {
  const answer = await pilot.ask("Tell me a long story about a lighthouse.", heldOut.system);
  expect(pilot.tokenize(answer).length).toBeGreaterThanOrEqual(200);
});

test("a second question in the same conversation is answered for itself", async () => {
  const answer = await pilot.ask("How do I get a receipt?", heldOut.system, ["Why does it rain?"]);
  expect(answer).toContain("GetReceipt");
});

test("the engine reads the file as the trainer does: same prompt tokens, same greedy answers, near logits", async () => {
  const { references } = await readJson<{ references: Reference[] }>("eval/reference.json");
  let same = 0;
  for (const { prompt, answer, question, first } of references) {
    const rendered = pilot.detokenize(prompt);
    expect(rendered).toContain(question);
    const got = await pilot.complete(prompt, answer.length + 8);
    if (got.join() === answer.join()) same++;
    const near = await pilot.nextLogProbabilities(prompt);
    for (const [token, expected] of Object.entries(first)) {
      if (expected > -3) expect(Math.abs((near.get(Number(token)) ?? -99) - expected)).toBeLessThan(0.5);
    }
  }
  console.log(`${same} of ${references.length} greedy answers have exactly the trainer's tokens`);
  expect(same / references.length).toBeGreaterThanOrEqual(0.9); // Q8_0 rounding may tip a near tie
});

test("the chat template puts the system text in its own place", async () => {
  const { references } = await readJson<{ references: Reference[] }>("eval/reference.json");
  const reference = references.find((item) => item.system === heldOut.system)!;
  const answer = pilot.detokenize(reference.answer);
  expect(pilot.detokenize(reference.prompt)).toContain(`<|system|>${heldOut.system}<|end|><|user|>`);
  expect(await pilot.ask(reference.question, heldOut.system)).toBe(answer);
});

/** Mulberry32 under a Fisher-Yates shuffle: the same sample for the same seed. */
function shuffled<T>(items: T[], from: number): T[] {
  let state = from >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}
