/** Verdicts over the real bus: only what is signed, in its place and in time is released, and once. */

import { generateKeyPairSync } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { createSigner } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readOutput } from "../src/core/output.ts";
import { applyVerdict } from "../src/handlers/bus/apply-verdict.ts";
import { beginChat, Listener, recordsOf, rowOf } from "./fixtures/calls.ts";
import { type Gateway, modelDigest, type Platform, startPlatform } from "./fixtures/platform.ts";
import { Attempt } from "./fixtures/words.ts";

let platform: Platform;
let gateway: Gateway;
beforeAll(async () => {
  platform = await startPlatform();
  gateway = await platform.startGateway();
}, 120_000);
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

const begin = (content?: string, more?: object) => beginChat(platform, gateway.context, content, more);
const stateOf = async (id: string) => (await rowOf(gateway.context, id))!;

describe("a stream of windows", () => {
  test("reaches its caller in order, each committed first, and ends with one record", async () => {
    const [listener, words] = await begin();
    const job = await waitFor("the job", async () => {
      const subject = subjects.job("pilot", listener.id);
      for await (const { message } of platform.worker.replay("JOBS", subject, JobSchema)) return message;
    });
    expect(job).toMatchObject({ requestId: listener.id, attempt: 1, modelDigest });
    for (const verdict of [words.started(), words.window("One. "), words.window("Two."), words.window("", true)])
      await words.say(verdict);
    await listener.done;
    expect(listener).toMatchObject({ texts: ["One. ", "Two.", ""], outcome: { state: "released" } });
    const records = await recordsOf(gateway.context, listener.id);
    expect(records.map(({ event }) => event)).toEqual(["request.accepted", "request.released"]);
    const { contents } = await readOutput(gateway.context, await stateOf(listener.id));
    expect(contents.map((bytes) => fromBinary(WindowContentSchema, bytes).text)).toEqual(["One. ", "Two.", ""]);
  });

  test("whose first window brings the claim along is released like any other, and only with a genuine claim", async () => {
    const [listener, words] = await begin();
    await words.say({ ...words.window("All of it.", true), claim: create(EnvelopeSchema, words.claim) });
    expect((await listener.done).outcome).toMatchObject({ state: "released" });
    expect(listener.texts).toEqual(["All of it."]);
    expect((await stateOf(listener.id)).claim).not.toBeNull();

    const [wronged, others] = await begin();
    const claim = create(EnvelopeSchema, { ...others.claim, payload: words.claim.payload });
    await others.say({ ...others.window("All of it.", true), claim });
    expect((await wronged.done).outcome).toMatchObject({ state: "failed", code: "TICKET_INVALID" });
    expect(wronged.texts).toEqual([]);
  });

  test("that is refused at its first word, which brings the claim along, ends as blocked", async () => {
    const [listener, words] = await begin();
    await words.say({ ...words.refusal("deny"), claim: create(EnvelopeSchema, words.claim) });
    expect((await listener.done).outcome).toMatchObject({ state: "blocked", code: "TEST_RULE" });
  });

  test("delivered twice, releases each window once", async () => {
    const [listener, words] = await begin();
    const verdicts = [words.started(), words.window("One. "), words.window("Two.", true)];
    for (const verdict of verdicts) {
      await words.say(verdict);
      await words.say(verdict, ".again");
    }
    await listener.done;
    for (const verdict of verdicts) await applyVerdict(gateway.context, verdict);
    expect(listener.texts).toEqual(["One. ", "Two."]);
    expect((await recordsOf(gateway.context, listener.id)).filter(({ terminal }) => terminal)).toHaveLength(1);
  });

  test("goes on after the gateway was started anew in its middle", async () => {
    const [listener, words] = await begin("hello", { idempotencyKey: "k-restart" });
    for (const verdict of [words.started(), words.window("One. ")]) await words.say(verdict);
    await waitFor("the first window", () => listener.texts.length === 1);
    await gateway[Symbol.asyncDispose]();
    await words.say(words.window("Two. "));
    gateway = await platform.startGateway();
    const again = new Listener(gateway.context, "hello", { idempotencyKey: "k-restart" });
    await words.say(words.window("Three.", true));
    await again.done;
    expect(listener.error).toMatchObject({ reason: "STOPPING" });
    expect(again).toMatchObject({
      texts: ["One. ", "Two. ", "Three."],
      outcome: { id: listener.id, state: "released" },
    });
  });

  test("whose middle is missing ends; without a released window it is tried again", async () => {
    const [listener, words] = await begin();
    for (const verdict of [words.started(), words.window("One. ")]) await words.say(verdict);
    words.window("lost");
    await words.say(words.window("Three."));
    expect((await listener.done).error ?? listener.outcome).toMatchObject({ state: "failed", code: "VERDICT_LOST" });
    expect(listener.texts).toEqual(["One. "]);

    const [fresh, unheard] = await begin();
    await unheard.say(unheard.window("no start came"));
    await waitFor("a second attempt", async () => (await stateOf(fresh.id)).attempt === 2);
    fresh.gone.abort();
    await fresh.done;
    expect(fresh.texts).toEqual([]);
  });

  test("of a model that is taken back meanwhile ends there", async () => {
    const [listener, words] = await begin();
    for (const verdict of [words.started(), words.window("One. ")]) await words.say(verdict);
    await waitFor("the first window", () => listener.texts.length === 1);
    await platform.approve([]);
    await waitFor("the revocation", () => !gateway.context.approvedModel(modelDigest));
    try {
      await words.say(words.window("Two."));
      expect((await listener.done).outcome).toMatchObject({ state: "failed", code: "MODEL_NOT_APPROVED" });
      expect(listener.texts).toEqual(["One. "]);
    } finally {
      await platform.approve([modelDigest]);
      await waitFor("the approval", () => gateway.context.approvedModel(modelDigest));
    }
  });
});

describe("what is not door 2's word on this request, here and now, ends it and is not shown", () => {
  const forged: [string, (words: Attempt) => Parameters<Attempt["say"]>[0] | Promise<Parameters<Attempt["say"]>[0]>][] =
    [
      [
        "a verdict signed with another key",
        (words) => {
          const own = generateKeyPairSync("ed25519").privateKey;
          const real = platform.trust.signer;
          platform.trust.signer = (stage) => createSigner(own, stage);
          const verdict = words.window("forged");
          platform.trust.signer = real;
          return verdict;
        },
      ],
      [
        "a ticket over other bytes",
        (words) => {
          const genuine = words.window("genuine");
          words.index -= 1;
          const other = words.window("other");
          if (genuine.body.case === "window" && other.body.case === "window")
            genuine.body.value.content = other.body.value.content;
          return genuine;
        },
      ],
      [
        "a window of another request",
        async (words) => {
          const [, others] = await begin();
          others.window("their first");
          const theirs = others.window("theirs");
          return { ...theirs, requestId: words.job.requestId };
        },
      ],
      ["a denial sent as a hold", (words) => words.refusal("hold", "deny")],
      ["a hold sent as a denial", (words) => words.refusal("deny", "hold")],
      ["a verdict without an envelope", (words) => words.message(1, { case: "window", value: { decision: 1 } })],
    ];
  test.each(forged)("%s", async (_, forge) => {
    const [listener, words] = await begin();
    for (const verdict of [words.started(), words.window("One. ")]) await words.say(verdict);
    await waitFor("the first window", () => listener.texts.length === 1);
    await words.say(await forge(words));
    expect((await listener.done).outcome).toMatchObject({ state: "failed", code: "TICKET_INVALID" });
    expect(listener.texts).toEqual(["One. "]);
  });

  test("the end of an attempt that is over changes nothing", async () => {
    const [listener, words] = await begin();
    for (const verdict of [words.started(), words.failed("ENGINE_CRASHED", true)]) await words.say(verdict);
    const row = await waitFor("a second attempt", async () => {
      const row = await stateOf(listener.id);
      return row.attempt === 2 && row;
    });
    const second = await Attempt.of(platform, row);
    await second.say(second.started());
    await words.say(words.window("spliced", true));
    await second.say(second.window("whole", true));
    await listener.done;
    expect(listener).toMatchObject({ texts: ["whole"], outcome: { state: "released", attempt: 2 } });
  });

  test("no word of a failure reaches caller or record but a known code", async () => {
    const [listener, words] = await begin();
    await words.say(words.started());
    await words.say(words.failed("MODEL_SAYS_HELLO", false, "text that a model made"));
    const { outcome } = await listener.done;
    expect(outcome).toMatchObject({ state: "failed", code: "FAILED" });
    const { rows } = await gateway.context.db.query<{ payload: Uint8Array }>("SELECT payload FROM outbox");
    const all = rows.map(({ payload }) => Buffer.from(payload).toString("latin1")).join("");
    expect(all).not.toMatch(/MODEL_SAYS_HELLO|text that a model made/);
  });
});
