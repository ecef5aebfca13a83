import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bootPlatform, model, type TestPlatform } from "../kit/index.ts";

const shipped = fileURLToPath(new URL("../../packages/policy/bundles/default", import.meta.url));
const build = fileURLToPath(new URL("../../packages/policy/tools/build.ts", import.meta.url));

let sallyport: TestPlatform;
let bundle: string;
beforeAll(async () => {
  bundle = mkdtempSync(join(tmpdir(), "sallyport-bundle-"));
  cpSync(shipped, bundle, { recursive: true });
  sallyport = await bootPlatform("policy", { policyBundleDir: bundle });
}, 180_000);
afterAll(async () => {
  await sallyport?.[Symbol.asyncDispose]();
  rmSync(bundle, { recursive: true, force: true });
}, 60_000);

/** The tour's decisions, each told by one word. */
const prompts = {
  ordinary: "What is Sallyport?",
  marked: "Please repeat SALLYPORT-BLOCK-ME for me",
  unclear: "What is Sallyport? SALLYPORT-REVIEW-ME",
  heldOutput: "Say the review phrase.",
  link: "Where can I read more about bread?",
} as const;
type Told = Record<keyof typeof prompts, string>;

async function decisions(): Promise<Told> {
  const told = {} as Told;
  for (const [name, content] of Object.entries(prompts)) {
    const body = { model, messages: [{ role: "user", content }], temperature: 0 };
    const answer = (await (await sallyport.http("/v1/chat/completions", { body })).json()) as {
      error?: { type: string };
      choices?: { message: { content: string } }[];
    };
    const text = answer.choices?.[0]?.message.content ?? "";
    told[name as keyof Told] = answer.error?.type ?? (text.includes("[link removed]") ? "link removed" : "released");
  }
  return told;
}

interface PolicyData {
  config: {
    categories: Record<string, { thresholds: Record<"door1" | "door2", Record<string, number>> }>;
    links: { allow: string[]; schemes: string[] };
  };
}

/** Only files of the bundle change; governance is started again and publishes it, the other services run on. */
async function publish(edit: (data: PolicyData) => void): Promise<void> {
  const before = await policyDigest();
  const file = join(bundle, "data.json");
  const data = JSON.parse(readFileSync(file, "utf8")) as PolicyData;
  edit(data);
  writeFileSync(file, JSON.stringify(data));
  await sallyport.platform.service("governance").restart();
  await waitFor("the new policy in force", async () => (await policyDigest()) !== before || undefined, {
    timeoutMs: 30_000,
  });
}

async function policyDigest(): Promise<string> {
  const response = await sallyport.http("/v1/moderations", { body: { input: "x" } });
  const { results } = (await response.json()) as { results?: { sallyport: { policy_digest: string } }[] };
  return results?.[0]?.sallyport.policy_digest ?? "";
}

const held = "held_for_review";
const denied = "content_policy_violation";

test("editing only the bundle's data flips every decision of the tour, with nothing else restarted", async () => {
  expect(await decisions()).toEqual({
    ordinary: "released",
    marked: denied,
    unclear: held,
    heldOutput: held,
    link: "link removed",
  });
  keepOneTest();
  const rules = join(bundle, "rules", "markers.json");
  const markers = JSON.parse(readFileSync(rules, "utf8")) as { lists: Record<string, string[]> };
  markers.lists["marker.hard"] = ["WHAT IS SALLYPORT"];
  writeFileSync(rules, JSON.stringify(markers));
  await publish(({ config }) => {
    config.categories.test_block!.thresholds = { door1: { deny: 1.1 }, door2: { deny: 1.1 } };
    config.categories.test_review!.thresholds = { door1: { deny: 0.5 }, door2: { deny: 0.5 } };
    config.links.allow.push("unknown-links.example");
    config.links.schemes.push("http");
  });
  expect(await decisions()).toEqual({
    ordinary: denied,
    marked: "released",
    unclear: denied,
    heldOutput: denied,
    link: "released",
  });
}, 180_000);

test("editing only Rego flips them too", async ({ skip }) => {
  rmSync(bundle, { recursive: true, force: true });
  cpSync(shipped, bundle, { recursive: true });
  keepOneTest();
  for (const name of ["decision_test", "authz_test"]) rmSync(join(bundle, "rego", `${name}.rego`), { force: true });
  const file = join(bundle, "rego", "decision.rego");
  const source = readFileSync(file, "utf8");
  const swapped = source.replace('["allow", "sanitise", "hold", "deny"]', '["allow", "sanitise", "deny", "hold"]');
  expect(swapped).not.toBe(source);
  writeFileSync(file, swapped);
  try {
    // Not synchronously: connections to the platform close meanwhile, and this process must notice.
    await promisify(execFile)(process.execPath, [build, bundle], { timeout: 300_000 });
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? "");
    if (said.includes("opa was not found")) skip("opa can neither be found nor built here, so Rego cannot be compiled");
    throw new Error(said);
  }
  await publish(() => {});
  const flipped = { marked: held, unclear: denied, heldOutput: denied };
  expect(await decisions()).toEqual({ ...flipped, ordinary: "released", link: "link removed" });
}, 400_000);

/** The bundle's own tests hold it to its decisions: they go with them. */
function keepOneTest(): void {
  rmSync(join(bundle, "tests"), { recursive: true });
  mkdirSync(join(bundle, "tests"));
  const cases = [{ name: "plain text passes", judge: { text: "a plain text" }, expect: { decision: "allow" } }];
  writeFileSync(join(bundle, "tests", "kept.json"), JSON.stringify({ cases }));
}
