/** A break-in at governance: its bus credentials, but not its signing key. No decision and no policy of the intruder counts. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  createSigner,
  createStatement,
  decodeEnvelopeJson,
  decodeStatement,
  type Envelope,
  encodeEnvelopeJson,
  envelopeDigest,
  type Predicate,
  parseCanonical,
  type StateValue,
  signState,
  subjectOf,
} from "@sallyport/attestation";
import { ReviewDecisionMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type BusUser,
  bootPlatform,
  chatByGrpc,
  connectAs,
  decide,
  freeze,
  grpcClients,
  type HoldRow,
  holdOf,
  Intruder,
  type LedgerRow,
  readRequest,
  signAs,
  signingKeyOf,
  type TestPlatform,
} from "../kit/index.ts";

const deadlineMs = 30_000;
const soonMs = 3_000;
const heldOutput = "Say the review phrase.";
const heldPrompt = "What is Sallyport? SALLYPORT-REVIEW-ME";
const deniedPrompt = "Please repeat SALLYPORT-BLOCK-ME for me";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let intruder: Intruder;
let reader: BusUser;
beforeAll(async () => {
  sallyport = await bootPlatform("state");
  clients = grpcClients(sallyport.platform);
  intruder = await Intruder.as("governance", sallyport.platform);
  reader = await connectAs(sallyport.platform, "governance");
}, 180_000);
afterAll(async () => {
  await reader?.[Symbol.asyncDispose]();
  await intruder?.[Symbol.asyncDispose]();
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

const say = (content: string, withinMs = deadlineMs) =>
  chatByGrpc(sallyport, clients, { content, maxTokens: 40 }, { deadlineMs: withinMs }).done;
const keyOf = (service: "governance" | "post-moderator" | "pre-moderator") => signingKeyOf(sallyport.platform, service);
const ownKey = generateKeyPairSync("ed25519").privateKey;

async function held(content: string): Promise<{ row: LedgerRow; hold: HoldRow }> {
  const call = await say(content);
  expect(call).toMatchObject({ state: "held", error: { code: "HELD" } });
  return await holdOf(sallyport.platform, call.requestId!);
}

type Keys = { review: KeyObject; countersign: KeyObject };

/** A person's release of the hold, as governance and door 2 would sign it, with the keys given. */
function release({ row, hold }: { row: LedgerRow; hold: HoldRow }, keys: Keys, decision: "allow" | "deny" = "allow") {
  const statement = decodeStatement(hold.hold.payload);
  const { policyDigest, modelDigest, modality, tenant } = statement.predicate;
  const times = { issuedAt: new Date().toISOString(), expiresAt: new Date(Date.now() + 3_600_000).toISOString() };
  const about = { requestId: row.id, attempt: hold.attempt, tenant, modality, findings: [], policyDigest, modelDigest };
  const base = { ...about, ...times, index: 0, final: true };
  const reviewer = { subject: "somebody", justificationDigest: "0".repeat(64) };
  const first: Predicate = { ...base, stage: "review", decision, prev: envelopeDigest(hold.hold), reviewer };
  const review = signAs(keys.review, "review", createStatement(subjectOf(statement), first));
  const second: Predicate = { ...base, stage: "countersign", decision: "allow", prev: envelopeDigest(review) };
  return {
    review,
    countersign: signAs(keys.countersign, "countersign", createStatement(subjectOf(statement), second)),
  };
}

function send(row: LedgerRow, hold: HoldRow, release: { review: Envelope; countersign?: Envelope }, allow = true) {
  const message = { requestId: row.id, stage: hold.stage, allow, ...release, reviewer: "somebody" };
  return intruder.put(subjects.decision(row.id), ReviewDecisionMessageSchema, message);
}

/** Every way to a release or refusal without the keys of both governance and door 2. */
async function sendForgeries(about: { row: LedgerRow; hold: HoldRow }, other: { row: LedgerRow; hold: HoldRow }) {
  const { row, hold } = about;
  const genuine = { review: keyOf("governance"), countersign: keyOf("post-moderator") };
  await send(row, hold, release(about, { review: ownKey, countersign: ownKey }));
  await send(row, hold, release(about, { ...genuine, countersign: ownKey }));
  await send(row, hold, release(about, { ...genuine, countersign: keyOf("governance") }));
  await send(row, hold, release(about, { ...genuine, review: keyOf("post-moderator") }));
  await send(row, hold, { review: release(about, genuine).review });
  await send(row, hold, release(other, genuine));
  await send(row, hold, release(about, { review: ownKey, countersign: ownKey }, "deny"), false);
}

describe.each([
  ["an output", heldOutput],
  ["a prompt", heldPrompt],
])("a held request, for %s: forged decisions on the bus", (_what, prompt) => {
  test("release nothing: the reviewer's refusal behind them is what counts", async () => {
    const [about, other] = [await held(prompt), await held(prompt)];
    await sendForgeries(about, other);
    const ended = await decide(sallyport, clients, about.row.id, ReviewDecision.DENY);
    expect(ended).toMatchObject({ state: "blocked", code: "REVIEW_DENIED", attempt: about.row.attempt });
    expect(await readRequest(sallyport.platform, other.row.id)).toMatchObject({ state: "held" });
  }, 60_000);

  test("refuse nothing either: the reviewer's release behind them is what counts", async () => {
    const [about, other] = [await held(prompt), await held(prompt)];
    await sendForgeries(about, other);
    await decide(sallyport, clients, about.row.id, ReviewDecision.ALLOW);
    const released = async () => (await readRequest(sallyport.platform, about.row.id))?.state === "released";
    await waitFor("the release", released, { timeoutMs: 30_000 });
  }, 60_000);

  test("control: with both right keys the same message does release, so it is the keys that count", async () => {
    const about = await held(prompt);
    const genuine = { review: keyOf("governance"), countersign: keyOf("post-moderator") };
    await send(about.row, about.hold, release(about, genuine));
    const released = async () => (await readRequest(sallyport.platform, about.row.id))?.state === "released";
    await waitFor("the release", released, { timeoutMs: 30_000 });
  }, 60_000);
});

/** The signed value that holds now. */
async function current(bucket: string, key: string): Promise<StateValue> {
  const stored = await reader.ask(`$JS.API.DIRECT.GET.KV_${bucket}.$KV.${bucket}.${key}`);
  const bytes = Buffer.from(stored instanceof Uint8Array ? stored : JSON.stringify(stored));
  return parseCanonical(decodeEnvelopeJson(bytes).payload) as unknown as StateValue;
}

const signedBy = (key: KeyObject, state: StateValue) =>
  encodeEnvelopeJson(signState(createSigner(key, "state"), state));
const next = (state: StateValue) => ({ ...state, version: state.version + 1 });
const policy = { bucket: "policy", key: "active" };
const models = { bucket: "models", key: "manifest" };

/** The last three are signed by governance: what it once said, or never said in this place. */
const forgeries: { what: string; place: typeof policy; forge: (state: StateValue) => string }[] = [
  { what: "a policy without signature", place: policy, forge: (state) => JSON.stringify(next(state)) },
  {
    what: "a policy with the intruder's own signature",
    place: policy,
    forge: (state) => signedBy(ownKey, next(state)),
  },
  { what: "a policy signed by door 1", place: policy, forge: (state) => signedBy(keyOf("pre-moderator"), next(state)) },
  { what: "models signed by door 2", place: models, forge: (state) => signedBy(keyOf("post-moderator"), next(state)) },
  {
    what: "the models of before the last approval",
    place: models,
    forge: (state) => signedBy(keyOf("governance"), { ...state, version: state.version - 1, value: { models: [] } }),
  },
  {
    what: "another policy of the same version",
    place: policy,
    forge: (state) => signedBy(keyOf("governance"), { ...state, issuedAt: new Date().toISOString() }),
  },
  {
    what: "a manifest in the place of a policy",
    place: policy,
    forge: (state) => signedBy(keyOf("governance"), { ...next(state), ...models }),
  },
];

describe("signed state put on the bus by the intruder is refused as stale, and work goes on when governance is back", () => {
  test.each(forgeries)(
    "$what",
    async ({ place: { bucket, key }, forge }) => {
      await reachesAnswer();
      const state = await current(bucket, key);
      const thaw = freeze(sallyport.platform.service("governance").pid!);
      try {
        await intruder.putBytes(`$KV.${bucket}.${key}`, forge(state));
        // What was let in just before waits for door 2, which refuses as well: it is not waited for.
        const refused = async () => (await say("Hello", soonMs)).error?.reason === "STATE_STALE";
        await waitFor("requests to be refused as stale", refused, { timeoutMs: 15_000, everyMs: 100 });
        expect((await say(deniedPrompt)).error).toMatchObject({ code: "UNAVAILABLE" });
      } finally {
        thaw();
      }
      await reachesAnswer();
      expect((await say(deniedPrompt)).error).toMatchObject({ code: "BLOCKED", reason: "TEST_BLOCK" });
      expect(await current(bucket, key)).toEqual(state);
    },
    90_000,
  );

  const reachesAnswer = () =>
    waitFor("an answer", async () => (await say("Hello", 2 * soonMs)).state === "released", {
      timeoutMs: 40_000,
      everyMs: 200,
    });
});
