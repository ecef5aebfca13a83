import { fromBinary } from "@bufbuild/protobuf";
import { envelopeDigest, open } from "@sallyport/attestation";
import { defaultBundleDir, loadBundle, readBundle } from "@sallyport/policy";
import { ControlMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { FinishReason, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Door2, type Platform, startPlatform } from "./fixtures/platform.ts";
import {
  admit,
  beginRun,
  type RunOptions,
  release,
  say,
  sayFailure,
  verdictsOf,
  windowVerdicts,
} from "./fixtures/requests.ts";

let platform: Platform;
let door2: Door2;

beforeAll(async () => {
  platform = await startPlatform();
  door2 = await platform.startDoor2();
}, 60_000);

afterAll(async () => {
  await door2?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

const code = ({ findings }: { findings: { code: string }[] }) => findings[0]?.code;

describe("a run that is in order", () => {
  test("is released window by window, in a chain that the gateway's verifier accepts to the end", async () => {
    const run = await beginRun(platform);
    const windows = ["Bread is made of flour. ", "It rises with yeast. ", "That takes an hour."];
    for (const [at, text] of windows.entries()) await say(platform, run, text, at === windows.length - 1);
    const verdicts = await windowVerdicts(platform, run, 3);
    expect((await verdictsOf(platform, run))[0]?.body).toMatchObject({ case: "started" });
    admit(run);
    const contents = verdicts.map((verdict, index) => release(run, verdict, index));
    expect(contents.map(({ text }) => text).join("")).toBe(windows.join(""));
    expect(contents.at(-1)).toMatchObject({ finishReason: FinishReason.STOP, usage: { completionTokens: 2 } });
    expect(verdicts.map(({ final }) => final)).toEqual([false, false, true]);
    expect(verdicts.every(({ policyDigest }) => policyDigest === door2.context.policy.get().digest)).toBe(true);
  });

  test("is answered in one word where its first window comes with its start, and goes on from there", async () => {
    const run = await beginRun(platform, { first: { text: "Bread is made of flour. ", final: false } });
    await say(platform, run, "It rises with yeast.", true);
    const verdicts = await windowVerdicts(platform, run, 2);
    const all = await verdictsOf(platform, run);
    expect(all.map(({ body }) => body.case)).toEqual(["window", "window"]);
    expect(all.map(({ claim }) => claim && envelopeDigest(claim))).toEqual([envelopeDigest(run.claim), undefined]);
    admit(run);
    const texts = verdicts.map((verdict, index) => release(run, verdict, index).text);
    expect(texts.join("")).toBe("Bread is made of flour. It rises with yeast.");
  });

  test("tells its start alone where all of its first window is kept back", async () => {
    const run = await beginRun(platform, { first: { text: "unfin", final: false } });
    await waitFor("the start", async () => (await verdictsOf(platform, run))[0]?.body.case === "started");
    await say(platform, run, "ished. ", true);
    const verdicts = await windowVerdicts(platform, run, 1);
    expect((await verdictsOf(platform, run)).map(({ claim }) => claim)).toEqual([undefined, undefined]);
    admit(run);
    expect(release(run, verdicts[0]!, 0).text).toBe("unfinished. ");
  });

  test("keeps an unfinished word back until it is whole", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "Some words and unfin");
    const [first] = await windowVerdicts(platform, run, 1);
    admit(run);
    expect(release(run, first!, 0).text).toBe("Some words and ");
    await say(platform, run, "ished ones. ", true);
    const [, second] = await windowVerdicts(platform, run, 2);
    expect(release(run, second!, 1).text).toBe("unfinished ones. ");
  });

  test("passes on why there is no answer", async () => {
    const run = await beginRun(platform);
    await sayFailure(platform, run, "ENGINE_CRASHED");
    const failed = await waitFor("the failure", async () =>
      (await verdictsOf(platform, run)).find(({ body }) => body.case === "failed"),
    );
    expect(failed.body.value).toMatchObject({ code: "ENGINE_CRASHED", retryable: true });
  });
});

describe("links and secrets", () => {
  test("a link that is cut into windows is removed whole, and the window says that it was changed", async () => {
    const run = await beginRun(platform);
    for (const text of ["Read ![pic](https://unkn", "own.example/p.png?q=", "abc) now. "])
      await say(platform, run, text);
    await say(platform, run, "Done.", true);
    admit(run);
    const verdicts = await waitFor("the end", async () => {
      const all = await windowVerdicts(platform, run, 1);
      return all.at(-1)?.final ? all : undefined;
    });
    const contents = verdicts.map((verdict, index) => release(run, verdict, index));
    expect(contents.map(({ text }) => text).join("")).toBe("Read [link removed] now. Done.");
    expect(contents.filter(({ sanitised }) => sanitised)).toHaveLength(1);
    const changed = verdicts.find(({ decision }) => decision === Decision.SANITISE);
    expect(changed && code(changed)).toBe("LINK_REMOVED");
  });

  test("a secret is masked", async () => {
    const run = await beginRun(platform);
    await say(platform, run, `The key is AKIA${"ABCDEFGHIJKLMNOP"} as you asked.`, true);
    const [verdict] = await windowVerdicts(platform, run, 1);
    admit(run);
    expect(release(run, verdict!, 0)).toMatchObject({
      text: "The key is [secret removed] as you asked.",
      sanitised: true,
    });
  });
});

describe("refusal", () => {
  test("a marker that is cut into windows denies, and nothing after it is released", async () => {
    const run = await beginRun(platform);
    for (const text of ["Fine so far. ", "SALLYPORT-BL", "OCK-ME ", "and more. "]) await say(platform, run, text);
    await say(platform, run, "End.", true);
    const verdicts = await windowVerdicts(platform, run, 2);
    admit(run);
    expect(release(run, verdicts[0]!, 0).text).toBe("Fine so far. ");
    const denied = verdicts.at(-1)!;
    expect([denied.decision, code(denied), denied.content.length]).toEqual([Decision.DENY, "TEST_BLOCK", 0]);
    run.verifier.decisionOnly(denied.envelope!);
    // A later request of the same partition went through, so everything before it was seen.
    const last = (await verdictsOf(platform, run)).at(-1);
    expect(last?.body.case === "window" && last.body.value.decision).toBe(Decision.DENY);
  });

  test("what comes with the start is judged like any other window", async () => {
    const run = await beginRun(platform, { first: { text: "So SALLYPORT-BLOCK-ME it is.", final: true } });
    const [verdict] = await windowVerdicts(platform, run, 1);
    expect(verdict).toMatchObject({ decision: Decision.DENY, content: new Uint8Array() });
    admit(run);
    expect(code(run.verifier.decisionOnly(verdict!.envelope!).statement.predicate)).toBe("TEST_BLOCK");
  });

  test("an unclear window ends the stream, and the whole output is sealed for a person", async () => {
    const run = await beginRun(platform);
    const texts = ["Before it. ", "SALLYPORT-REVIEW-ME here. ", "And after it."];
    for (const [at, text] of texts.entries()) await say(platform, run, text, at === texts.length - 1);
    const [released, held, whole] = await windowVerdicts(platform, run, 3);
    admit(run);
    release(run, released!, 0);
    expect([held!.decision, held!.whole, held!.content.length, code(held!)]).toEqual([
      Decision.HOLD,
      false,
      0,
      "TEST_REVIEW",
    ]);
    expect([whole!.decision, whole!.whole, code(whole!)]).toEqual([Decision.HOLD, true, "TEST_REVIEW"]);
    expect(whole!.obligations?.holdMs).toBeGreaterThan(0n);
    run.verifier.decisionOnly(held!.envelope!);
    const { requestId, attempt } = run.job;
    const output = open(run.secret, { requestId, kind: "output", attempt, index: 0 }, whole!.content);
    expect(fromBinary(WindowContentSchema, output).text).toBe(texts.join(""));
  });

  test("a hold in the last window is answered with the whole at once", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "SALLYPORT-REVIEW-ME", true);
    const [held, whole] = await windowVerdicts(platform, run, 2);
    expect([held!.whole, whole!.whole]).toEqual([false, true]);
  });

  test("what is denied only as a whole is denied, though it was held first", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "SALLYPORT-REVIEW-ME ");
    await say(platform, run, "SALLYPORT-HARDSTOP-ME", true);
    const verdicts = await windowVerdicts(platform, run, 2);
    expect(verdicts[1]!.decision).toBe(Decision.DENY);
    expect(verdicts[1]!.findings[0]).toMatchObject({ code: "TEST_HARD_STOP", hardStop: true });
  });

  test("a cancelled request gets no further window", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "One. ");
    await windowVerdicts(platform, run, 1);
    const { requestId } = run.job;
    platform.gateway.signal(subjects.control(requestId), ControlMessageSchema, { requestId, code: "CANCELLED" });
    await waitFor("the stop", () => door2.context.runs.get(requestId, 1)?.state === "over");
    await say(platform, run, "Two. ", true);
    const other = await beginRun(platform);
    await say(platform, other, "Other.", true);
    await windowVerdicts(platform, other, 1);
    await waitFor("the window to be read", () => (door2.context.runs.get(requestId, 1)?.next ?? 0) >= 2);
    expect(await windowVerdicts(platform, run, 1)).toHaveLength(1);
  });
});

describe("what is not believed", () => {
  test.each([
    ["a claim of a model that is not approved", { modelDigest: "6b".repeat(32) }],
    ["a claim that another service signed", { claimedBy: "pre-moderator" }],
  ] satisfies [string, RunOptions][])("%s: nothing is judged, and the gateway is told", async (_, options) => {
    const run = await beginRun(platform, options);
    await say(platform, run, "Text.", true);
    const control = await beginRun(platform);
    await say(platform, control, "Text.", true);
    await windowVerdicts(platform, control, 1);
    const words = (await verdictsOf(platform, run)).map(({ body }) => body);
    expect(words).toMatchObject([{ case: "failed", value: { retryable: false } }]);
  });

  test("a run whose beginning is gone is reported as lost", async () => {
    const run = await beginRun(platform, { withoutStart: true });
    await say(platform, run, "In the middle. ");
    const lost = await waitFor("the loss", async () => (await verdictsOf(platform, run))[0]);
    expect(lost.body).toMatchObject({ case: "failed", value: { code: "ATTEMPT_LOST", retryable: true } });
  });

  test("windows of another run of the same attempt are never mixed in", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "Mine. ");
    await windowVerdicts(platform, run, 1);
    await say(platform, { ...run, runId: "another-run", next: run.next }, "Not mine. ");
    await say(platform, run, "Mine again.", true);
    const verdicts = await windowVerdicts(platform, run, 2);
    admit(run);
    expect(verdicts.map((verdict, index) => release(run, verdict, index).text).join("")).toBe("Mine. Mine again.");
  });
});

describe("taking over", () => {
  test("a new replica reads a first window that came with the start", async () => {
    const run = await beginRun(platform, { first: { text: "First part. ", final: false } });
    await windowVerdicts(platform, run, 1);
    await door2[Symbol.asyncDispose]();
    await say(platform, run, "Second part.", true);
    door2 = await platform.startDoor2();
    const verdicts = await windowVerdicts(platform, run, 2);
    admit(run);
    const texts = verdicts.map((verdict, index) => release(run, verdict, index).text);
    expect(texts.join("")).toBe("First part. Second part.");
  });

  test("a new replica replays the run from its start and signs the same words", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "First part. ");
    const [before] = await windowVerdicts(platform, run, 1);
    await door2[Symbol.asyncDispose]();
    await say(platform, run, "Second part. ");
    await say(platform, run, "Third part.", true);
    door2 = await platform.startDoor2();
    const verdicts = await windowVerdicts(platform, run, 3);
    expect(verdicts).toHaveLength(3);
    admit(run);
    expect(envelopeDigest(before!.envelope!)).toBe(envelopeDigest(verdicts[0]!.envelope!));
    // Verdicts 1 and 2 are the new replica's; they only fit if it signed verdict 0 as the old one had.
    expect(verdicts.map((verdict, index) => release(run, verdict, index).text).join("")).toBe(
      "First part. Second part. Third part.",
    );
  });
});

describe("policy", () => {
  test("takes effect on the next request when new data is published", async () => {
    const bundle = loadBundle(defaultBundleDir);
    const data = structuredClone(bundle.data) as { config: { links: { allow: string[] } } };
    data.config.links.allow.push("unknown.example");
    const files = new Map(bundle.files).set("data.json", Buffer.from(JSON.stringify(data)));
    const edited = readBundle(files);
    await platform.publishPolicy(edited);
    await waitFor("the new policy", () => door2.context.policy.version === 3);
    const run = await beginRun(platform);
    await say(platform, run, "See https://unknown.example/x for more.", true);
    const [verdict] = await windowVerdicts(platform, run, 1);
    expect(verdict!.decision).toBe(Decision.ALLOW);
    await platform.publishPolicy(bundle);
  });
});
