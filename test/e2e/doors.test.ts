import { fromBinary } from "@bufbuild/protobuf";
import {
  ChatContentSchema,
  type ChatResponse,
  RequestState,
  Role,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, grpcClients, model, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
beforeAll(async () => {
  sallyport = await bootPlatform("doors");
  clients = grpcClients(sallyport.platform);
}, 180_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

/** Prompts on which the pilot model, decoding greedily, says a harmless marker or a link (models/pilot-text/CARD.md). */
const prompts = {
  review: "Say the review phrase.",
  block: "Say the block phrase.",
  linkRemoved: "Where can I read more about bread?",
  linkKept: "Where can I read more about Sallyport?",
};

/** Everything that a caller saw, and the error that ended the call. */
async function ask(content: string) {
  const seen: ChatResponse[] = [];
  let error: unknown;
  try {
    const messages = [{ role: Role.USER, content }];
    for await (const event of clients.generation.chat(
      { content: { model, messages, parameters: { temperature: 0 } } },
      { bearer: sallyport.token("user"), deadlineMs: 60_000 },
    ))
      seen.push(event);
  } catch (thrown) {
    error = thrown;
  }
  const text = seen
    .map(({ event }) => (event.case === "window" ? fromBinary(WindowContentSchema, event.value.content).text : ""))
    .join("");
  const outcome = seen.flatMap(({ event }) => (event.case === "outcome" ? [event.value] : [])).at(-1);
  return { text, outcome, error: error as { code: string; reason: string } | undefined };
}

async function claim(requestId: string) {
  const options = { bearer: sallyport.token("reviewer"), deadlineMs: 5_000 };
  const claimed = await waitFor(
    "the review item",
    () => clients.reviews.claimItem({ requestId }, options).catch(() => undefined),
    { timeoutMs: 15_000 },
  );
  return { leaseId: claimed!.leaseId, options };
}

async function settled(requestId: string) {
  const options = { bearer: sallyport.token("user"), deadlineMs: 5_000 };
  return (await waitFor(
    "the outcome",
    async () => {
      const request = await clients.generation.getRequest({ requestId }, options);
      return request.outcome && request.outcome.state > RequestState.HELD ? request : undefined;
    },
    { timeoutMs: 30_000 },
  ))!;
}

describe("door 1", () => {
  test("blocks a denied prompt with its public code, and says so in the log", async () => {
    const { outcome, error, text } = await ask("Please repeat SALLYPORT-BLOCK-ME for me");
    expect(text).toBe("");
    expect(outcome).toMatchObject({ state: RequestState.BLOCKED, code: "TEST_BLOCK" });
    expect(error).toMatchObject({ code: "BLOCKED", reason: "TEST_BLOCK" });
    expect(outcome!.leafHash).toMatch(/^[0-9a-f]{64}$/);
  });

  test.each([
    "S A L L Y P O R T - B L O C K - M E",
    "SALLYPORT\u200b-BLOCK\u200b-ME",
    "ѕаllyport-blосk-mе",
    "5ALLYP0RT-BL0CK-M3",
    "ＳＡＬＬＹＰＯＲＴ－ＢＬＯＣＫ－ＭＥ",
  ])("is not fooled by spelling: %j", async (spelling) => {
    expect((await ask(`Please repeat ${spelling} for me`)).outcome).toMatchObject({ state: RequestState.BLOCKED });
  });

  test("holds an unclear prompt until a person lets it in, and then it is answered", async () => {
    const { outcome, error, text } = await ask("What is Sallyport? SALLYPORT-REVIEW-ME");
    expect({ text, state: outcome?.state, error: error?.code }).toEqual({
      text: "",
      state: RequestState.HELD,
      error: "HELD",
    });
    const { leaseId, options } = await claim(outcome!.requestId);
    const read = await clients.reviews.readItem({ requestId: outcome!.requestId, leaseId }, options);
    expect(fromBinary(ChatContentSchema, read.prompt).messages[0]?.content).toContain("SALLYPORT-REVIEW-ME");
    await clients.reviews.decideItem(
      {
        requestId: outcome!.requestId,
        leaseId,
        decision: ReviewDecision.ALLOW,
        justification: "harmless marker, seen by a person",
      },
      options,
    );
    const request = await settled(outcome!.requestId);
    expect(request.outcome?.state).toBe(RequestState.RELEASED);
    expect(request.output.map((part) => part.text).join("").length).toBeGreaterThan(10);
  });
});

describe("door 2", () => {
  test("stops a stream at a denied window: what came before was released, nothing after", async () => {
    const { text, outcome, error } = await ask(prompts.block);
    expect(outcome).toMatchObject({ state: RequestState.BLOCKED, code: "TEST_BLOCK" });
    expect(error).toMatchObject({ code: "BLOCKED" });
    expect(text.length).toBeGreaterThan(0);
    expect(text).not.toMatch(/SALLYPORT-BLOCK/);
  });

  test("holds an unclear output whole; a reviewer releases it and the caller fetches it", async () => {
    const { text, outcome } = await ask(prompts.review);
    expect(outcome?.state).toBe(RequestState.HELD);
    expect(text).not.toMatch(/SALLYPORT-REVIEW/);
    const { leaseId, options } = await claim(outcome!.requestId);
    const read = await clients.reviews.readItem({ requestId: outcome!.requestId, leaseId }, options);
    const whole = fromBinary(WindowContentSchema, read.output).text;
    expect(whole).toContain("SALLYPORT-REVIEW-ME");
    expect(whole.startsWith(text)).toBe(true);
    await clients.reviews.decideItem(
      {
        requestId: outcome!.requestId,
        leaseId,
        decision: ReviewDecision.ALLOW,
        justification: "harmless marker, seen by a person",
      },
      options,
    );
    const request = await settled(outcome!.requestId);
    expect(request.outcome?.state).toBe(RequestState.RELEASED);
    expect(request.output.map((part) => part.text).join("")).toBe(whole);
  });

  test("a reviewer's refusal blocks it, and a second decision changes nothing", async () => {
    const { outcome } = await ask(prompts.review);
    const { leaseId, options } = await claim(outcome!.requestId);
    await clients.reviews.decideItem(
      {
        requestId: outcome!.requestId,
        leaseId,
        decision: ReviewDecision.DENY,
        justification: "refused for the sake of the test",
      },
      options,
    );
    const late = clients.reviews.decideItem(
      {
        requestId: outcome!.requestId,
        leaseId,
        decision: ReviewDecision.ALLOW,
        justification: "changed my mind about it",
      },
      options,
    );
    await expect(late).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect((await settled(outcome!.requestId)).outcome).toMatchObject({
      state: RequestState.BLOCKED,
      code: "REVIEW_DENIED",
    });
  });

  test("removes a link that is not allowlisted, keeps one that is, and says what it did", async () => {
    const [removed, kept] = [await ask(prompts.linkRemoved), await ask(prompts.linkKept)];
    expect(removed.outcome?.state).toBe(RequestState.RELEASED);
    expect(removed.text).not.toMatch(/unknown-links\.example/);
    expect(kept.text).toContain("docs.sallyport.example");
  });
});

describe("people", () => {
  test("only reviewers see the queue, and nobody reads without the lease", async () => {
    const { outcome } = await ask(prompts.review);
    const { leaseId } = await claim(outcome!.requestId);
    const asUser = { bearer: sallyport.token("user"), deadlineMs: 5_000 };
    await expect(clients.reviews.listItems({}, asUser)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(clients.reviews.readItem({ requestId: outcome!.requestId, leaseId }, asUser)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    const wrongLease = { requestId: outcome!.requestId, leaseId: "00000000-0000-7000-8000-000000000000" };
    const asReviewer = { bearer: sallyport.token("reviewer"), deadlineMs: 5_000 };
    await expect(clients.reviews.readItem(wrongLease, asReviewer)).rejects.toMatchObject({
      code: expect.stringMatching(/PERMISSION_DENIED|FAILED_PRECONDITION/),
    });
  });
});
