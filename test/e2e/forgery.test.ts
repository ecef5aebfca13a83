/** A break-in at the post-moderator: its bus credentials and its requests' keys, but not its signing key. Nothing gets out. */
import { generateKeyPairSync } from "node:crypto";
import { RequestState } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdAgainstLedger } from "../fault/support/leaks.ts";
import {
  bootPlatform,
  type Call,
  type ChatServer,
  chatByGrpc,
  contentOf,
  freeze,
  grpcClients,
  holdOf,
  Intruder,
  lookAt,
  readRequest,
  type Scene,
  serveSlowModel,
  signAs,
  signingKeyOf,
  slowModel,
  slowStory,
  startSlowServer,
  statementFor,
  type TestPlatform,
} from "../kit/index.ts";

const deadlineMs = 60_000;
/** Long enough to be interrupted, and to be heard to its end. */
const story = "The tide comes in and goes out again. ".repeat(16);
const forgedText = "This was never reviewed.";
const forged = contentOf(forgedText);

let chamber: ChatServer;
let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let intruder: Intruder;
/** A request that was released, whose tickets the intruder kept. */
let kept: Scene;
beforeAll(async () => {
  chamber = await startSlowServer();
  sallyport = await bootPlatform("forgery", { remoteEndpoints: { [slowModel]: chamber.url } });
  clients = grpcClients(sallyport.platform);
  await serveSlowModel(sallyport, clients);
  chamber.say(story, 25);
  intruder = await Intruder.as("post-moderator", sallyport.platform);
  const call = await ask().done;
  expect(call).toMatchObject({ state: "released" });
  kept = await lookAt(sallyport.platform, call.requestId!);
}, 180_000);
afterAll(async () => {
  await intruder?.[Symbol.asyncDispose]();
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await chamber?.[Symbol.asyncDispose]();
}, 60_000);

const ask = () => chatByGrpc(sallyport, clients, slowStory, { deadlineMs });
const door2Key = () => signingKeyOf(sallyport.platform, "post-moderator");
const ownKey = generateKeyPairSync("ed25519").privateKey;

/** A story of which two windows or more are out: door 2 stands still, and the model has more to say. */
async function midStory() {
  const call = ask();
  await waitFor("two windows", () => call.windows.length >= 2, { everyMs: 2 });
  return { call, thaw: freeze(sallyport.platform.service("post-moderator").pid!) };
}

/** Attacks it once everything that door 2 had allowed has been released. */
async function interrupted(attack: (scene: Scene) => Promise<void>, then: "ended" | "ignored"): Promise<Call> {
  const { platform } = sallyport;
  const { call, thaw } = await midStory();
  try {
    const requestId = call.requestId!;
    let seen = -1;
    await waitFor(
      "the stream to come to rest",
      async () => {
        const { windowsReleased } = (await readRequest(platform, requestId))!;
        const rest = windowsReleased === seen && call.windows.length === seen;
        seen = windowsReleased;
        return rest;
      },
      { everyMs: 200 },
    );
    expect(call.ended).toBe(false);
    await attack(await lookAt(platform, requestId));
    if (then === "ended") await call.done;
  } finally {
    thaw();
  }
  await call.done;
  expect(call.text).not.toContain(forgedText);
  expect((await holdAgainstLedger(platform, call)).leaked).toBe(0);
  return call;
}

type Attack = [what: string, attack: (scene: Scene) => Parameters<Intruder["sendVerdict"]>[1]];

/** Everything but the signature is right: what is refused is refused for that alone (see the control below). */
const forgeries: Attack[] = [
  [
    "signed with a key of the intruder's own",
    (scene) => ({ envelope: signAs(ownKey, "door2", statementFor(scene, forged)), content: forged }),
  ],
  [
    "signed with that key under door 2's key id",
    (scene) => {
      const { keyid } = scene.windows[0]!.envelope.signatures[0]!;
      return { envelope: signAs(ownKey, "door2", statementFor(scene, forged), keyid), content: forged };
    },
  ],
  [
    "signed with the worker's key",
    (scene) => ({
      envelope: signAs(signingKeyOf(sallyport.platform, "inference-worker"), "worker", statementFor(scene, forged)),
      content: forged,
    }),
  ],
  [
    "not signed at all",
    (scene) => ({
      envelope: { ...signAs(ownKey, "door2", statementFor(scene, forged)), signatures: [] },
      content: forged,
    }),
  ],
  [
    "altered: a genuine ticket over other bytes",
    ({ windows }) => ({ envelope: windows.at(-1)!.envelope, content: forged }),
  ],
  [
    "altered: a genuine signature under another statement",
    (scene) => {
      const { signatures } = scene.windows.at(-1)!.envelope;
      return { envelope: { ...signAs(ownKey, "door2", statementFor(scene, forged)), signatures }, content: forged };
    },
  ],
  [
    "reordered: an earlier window once more, as the next",
    ({ windows }) => ({ envelope: windows[0]!.envelope, content: windows[0]!.content }),
  ],
  ["replayed: a window of another request", ({ next }) => kept.windows[next] ?? kept.windows.at(-1)!],
];

/** Genuine signatures of door 2, for something else. */
const misplaced: Attack[] = [
  ["spliced: of another attempt", (scene) => genuine(scene, { attempt: scene.row.attempt + 1 })],
  ["of another tenant", (scene) => genuine(scene, { tenant: "another-tenant" })],
  ["of another request", (scene) => genuine(scene, { requestId: kept.row.id })],
  ["expired", (scene) => genuine(scene, { issuedAt: at(-120_000), expiresAt: at(-60_000) })],
  ["from the future", (scene) => genuine(scene, { issuedAt: at(60_000), expiresAt: at(120_000) })],
  ["for another place in the stream", (scene) => genuine(scene, { index: scene.next + 1 })],
  ["behind another window", (scene) => genuine(scene, { prev: "0".repeat(64) })],
  ["of another model", (scene) => genuine(scene, { modelDigest: "0".repeat(64) })],
  ["a refusal, sent as a release", (scene) => genuine(scene, { decision: "deny" })],
];
const at = (fromNowMs: number) => new Date(Date.now() + fromNowMs).toISOString();
function genuine(scene: Scene, change: Parameters<typeof statementFor>[2]) {
  return { envelope: signAs(door2Key(), "door2", statementFor(scene, forged, change)), content: forged };
}

describe("a forged verdict on a running request ends it, and nothing of it gets out", () => {
  test.each([...forgeries, ...misplaced])("%s", async (_what, attack) => {
    const call = await interrupted((scene) => intruder.sendVerdict(scene, attack(scene)), "ended");
    expect(call).toMatchObject({ state: "failed", error: { reason: "TICKET_INVALID" } });
    expect(await readRequest(sallyport.platform, call.requestId!)).toMatchObject({
      state: "failed",
      code: "TICKET_INVALID",
    });
  });

  test.each([
    ["refusal", Decision.DENY, "deny" as const],
    ["hold", Decision.HOLD, "hold" as const],
  ])("nor is a forged %s believed", async (_what, decision, word) => {
    const forge = (scene: Scene) => signAs(ownKey, "door2", statementFor(scene, forged, { decision: word }));
    const call = await interrupted(
      (scene) => intruder.sendVerdict(scene, { envelope: forge(scene), decision }),
      "ended",
    );
    expect(call).toMatchObject({ state: "failed", error: { reason: "TICKET_INVALID" } });
  });

  test("a window beyond the next one is never shown; the stream ends instead of skipping", async () => {
    const call = await interrupted(
      (scene) => intruder.sendVerdict(scene, { ...genuine(scene, {}), index: scene.next + 1 }),
      "ended",
    );
    expect(call).toMatchObject({ state: "failed", error: { reason: "VERDICT_LOST" } });
  });

  test("control: the same bytes with door 2's own signature are released, so it is the signature that counts", async () => {
    const { call, thaw } = await midStory();
    await waitFor(
      "rest",
      async () => (await readRequest(sallyport.platform, call.requestId!))!.windowsReleased === call.windows.length,
    );
    const scene = await lookAt(sallyport.platform, call.requestId!);
    await intruder.sendVerdict(scene, genuine(scene, {}));
    await waitFor("the window", () => call.text.includes(forgedText));
    thaw();
    await call.done;
    expect((await holdAgainstLedger(sallyport.platform, call)).leaked).toBe(0);
  });
});

const released = { state: "released", error: undefined };

test("no forged verdict lets a held output go", async () => {
  const held = { content: "Say the review phrase." };
  const { state, requestId } = await chatByGrpc(sallyport, clients, held, { deadlineMs }).done;
  expect(state).toBe("held");
  await holdOf(sallyport.platform, requestId!);
  const scene = await lookAt(sallyport.platform, requestId!);
  for (const [, attack] of forgeries) await intruder.sendVerdict(scene, attack(scene));
  // Behind them in the same stream: what it brings has come, so they have been judged.
  expect(await ask().done).toMatchObject(released);
  const options = { bearer: sallyport.token("user"), deadlineMs };
  const { outcome, output } = await clients.generation.getRequest({ requestId: requestId! }, options);
  expect({ state: outcome?.state, output }).toEqual({ state: RequestState.HELD, output: [] });
});

describe("a verdict that is out of date changes nothing", () => {
  test("the request's own earlier window once more", async () => {
    const call = await interrupted(
      (scene) => intruder.sendVerdict(scene, { ...scene.windows[0]!, index: 0 }),
      "ignored",
    );
    expect(call).toMatchObject(released);
  });

  test("one of an attempt that does not run", async () => {
    const call = await interrupted(
      (scene) => intruder.sendVerdict(scene, { ...genuine(scene, {}), attempt: scene.row.attempt + 1 }),
      "ignored",
    );
    expect(call).toMatchObject(released);
  });

  test("one on a request that has ended", async () => {
    await intruder.sendVerdict(kept, genuine(kept, {}));
    const call = await ask().done;
    expect(call).toMatchObject(released);
    expect(await lookAt(sallyport.platform, kept.row.id)).toMatchObject({
      next: kept.next,
      row: { state: "released", leafHash: kept.row.leafHash },
    });
  });
});
