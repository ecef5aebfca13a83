/** Decisions over the real bus: a person releases what door 2 countersigned, refuses for good, and does either once. */
import { generateKeyPairSync } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { createSigner } from "@sallyport/attestation";
import { ReviewDecisionMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readOutput } from "../src/core/output.ts";
import { applyVerdict } from "../src/handlers/bus/apply-verdict.ts";
import { beginChat, Listener, recordsOf, rowOf } from "./fixtures/calls.ts";
import { type Gateway, type Platform, startPlatform } from "./fixtures/platform.ts";
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

describe("what a person decides", () => {
  const decide = (message: ReturnType<Attempt["decision"]>) =>
    platform.governance.publish(
      "DECISIONS",
      subjects.decision(message.requestId),
      ReviewDecisionMessageSchema,
      message,
      {
        msgId: crypto.randomUUID(),
      },
    );
  const holdOf = (verdict: ReturnType<Attempt["whole"]>) =>
    verdict.body.case === "window" ? verdict.body.value.envelope! : undefined!;

  /** A stream that is held after its first window, and then whole. */
  async function heldOutput(more = {}) {
    const [listener, words] = await begin("hello", more);
    for (const verdict of [words.started(), words.window("One. "), words.refusal("hold")]) await words.say(verdict);
    expect((await listener.done).outcome).toMatchObject({ state: "held", holdStage: "collecting" });
    const whole = words.whole("One. Two.");
    await words.say(whole);
    await waitFor("the whole", async () => (await stateOf(listener.id)).holdStage === "door2");
    return { listener, words, hold: holdOf(whole) };
  }

  test("lets a held prompt in: it runs as a first attempt with review and countersignature in its chain", async () => {
    const [listener, asked] = await begin("hold");
    expect((await listener.done).outcome).toMatchObject({ state: "held", holdStage: "door1" });
    await decide(asked.decision("door1", asked.job.admission!.door1!, true));
    const row = await waitFor("the queue", async () => {
      const row = await stateOf(listener.id);
      return row.state === "queued" && row;
    });
    expect(row).toMatchObject({ attempt: 1, code: "", message: "" });
    const words = await Attempt.of(platform, row);
    for (const verdict of [words.started(), words.window("Answer.", true)]) await words.say(verdict);
    await waitFor("the release", async () => (await stateOf(listener.id)).state === "released");
    const events = (await recordsOf(gateway.context, listener.id)).map(({ event }) => event);
    expect(events).toEqual(["request.held", "request.accepted", "request.released"]);
  });

  test("lets a held output out: whole, for GetRequest and for whoever comes back with the key", async () => {
    const key = { idempotencyKey: "k-held" };
    const { listener, words, hold } = await heldOutput(key);
    await decide(words.decision("door2", hold, true));
    await waitFor("the release", async () => (await stateOf(listener.id)).state === "released");
    const { contents } = await readOutput(gateway.context, await stateOf(listener.id));
    expect(contents.map((bytes) => fromBinary(WindowContentSchema, bytes).text)).toEqual(["One. Two."]);
    const again = await new Listener(gateway.context, "hello", key).done;
    expect(again).toMatchObject({ texts: ["One. Two."], outcome: { id: listener.id, state: "released" } });
  });

  test("a changed output in the ledger is not given out, though a person released it", async () => {
    const { listener, words, hold } = await heldOutput();
    await decide(words.decision("door2", hold, true));
    const row = await waitFor("the release", async () => {
      const row = await stateOf(listener.id);
      return row.state === "released" && row;
    });
    const other = words.whole("Something else.");
    const content = other.body.case === "window" ? other.body.value.content : undefined;
    await gateway.context.db.query("UPDATE holds SET content = $2 WHERE request_id = $1", [row.id, content]);
    await expect(readOutput(gateway.context, row)).rejects.toMatchObject({ code: "SUBJECT_MISMATCH" });
  });

  test("refuses: blocked. A refusal that governance did not sign changes nothing", async () => {
    const { listener, words, hold } = await heldOutput();
    const real = platform.trust.signer;
    platform.trust.signer = (stage) => createSigner(generateKeyPairSync("ed25519").privateKey, stage);
    const forged = [words.decision("door2", hold, false), words.decision("door2", hold, true)];
    platform.trust.signer = real;
    for (const decision of forged) await decide(decision);
    await waitFor("both to be read", async () => (await deadLetters()) >= 2);
    expect(await stateOf(listener.id)).toMatchObject({ state: "held", holdStage: "door2" });
    await decide(words.decision("door2", hold, false));
    await decide(words.decision("door2", hold, true));
    await waitFor("the refusal", async () => (await stateOf(listener.id)).state === "blocked");
    expect(await stateOf(listener.id)).toMatchObject({ code: "REVIEW_DENIED" });
    expect((await recordsOf(gateway.context, listener.id)).filter(({ terminal }) => terminal)).toHaveLength(1);
  });

  test("what door 2 says once more of an output that waits for a person changes nothing", async () => {
    const { listener, words } = await heldOutput();
    for (const verdict of [words.failed("ENGINE_CRASHED", false), words.refusal("deny"), words.whole("Other.")])
      await applyVerdict(gateway.context, verdict);
    expect(await stateOf(listener.id)).toMatchObject({ state: "held", holdStage: "door2" });
  });

  test("a run that fails after its stream was held ends the request", async () => {
    const [listener, words] = await begin();
    for (const verdict of [words.started(), words.refusal("hold")]) await words.say(verdict);
    await listener.done;
    await words.say(words.failed("ENGINE_CRASHED", true));
    await waitFor("the end", async () => (await stateOf(listener.id)).state === "failed");
    expect(await stateOf(listener.id)).toMatchObject({ code: "ENGINE_CRASHED" });
  });

  async function deadLetters(): Promise<number> {
    const nc = await platform.nats.admin();
    const { state } = (await nc.request("$JS.API.STREAM.INFO.DEAD")).json<{ state: { messages: number } }>();
    await nc.close();
    return state.messages;
  }
});
