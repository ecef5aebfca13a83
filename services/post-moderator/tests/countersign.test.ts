import { clone } from "@bufbuild/protobuf";
import { type Envelope, envelopeDigest, open, type Predicate } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import type { WindowVerdict } from "@sallyport/proto/sallyport/bus/v1/bus";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Door2, type Platform, startPlatform } from "./fixtures/platform.ts";
import { admit, beginRun, type Facts, say, sign, type TestRun, windowVerdicts } from "./fixtures/requests.ts";

let platform: Platform;
let door2: Door2;
let run: TestRun;
let held: WindowVerdict;
let digest: string;

const deadline = { deadlineMs: 5_000 };
const reviewer = { subject: "rita", justificationDigest: "cd".repeat(32) };

beforeAll(async () => {
  platform = await startPlatform();
  door2 = await platform.startDoor2();
  run = await beginRun(platform);
  await say(platform, run, "SALLYPORT-REVIEW-ME", true);
  held = (await windowVerdicts(platform, run, 2))[1] as WindowVerdict;
  digest = digestOf(held.envelope as Envelope);
}, 60_000);

afterAll(async () => {
  await door2?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

function digestOf(envelope: Envelope): string {
  const statement = JSON.parse(Buffer.from(envelope.payload).toString()) as {
    subject: { digest: Record<string, string> }[];
  };
  return statement.subject[0]?.digest["sha256-salted"] as string;
}

function review(
  hold: Envelope,
  rest: Partial<Predicate> = {},
  by: "governance" | "post-moderator" = "governance",
): Envelope {
  const { requestId, attempt } = run.job;
  const facts = { requestId, attempt, modelDigest: platform.modelDigest, prev: envelopeDigest(hold), reviewer };
  return sign(platform, by, { name: "output", digest }, { ...facts, stage: "review", decision: "allow", ...rest });
}

describe("a person's release", () => {
  test("is countersigned, and the gateway's verifier lets the held output go", async () => {
    const { requestId, attempt } = run.job;
    const hold = held.envelope as Envelope;
    const signed = review(hold);
    const { countersign } = await door2.client.countersign({ requestId, hold, review: signed }, deadline);
    const bytes = open(run.secret, { requestId, kind: "output", attempt, index: 0 }, held.content);
    admit(run);
    expect(run.verifier.heldOutput(hold, signed, countersign as Envelope, bytes).final).toBe(true);
  });

  test("waits while its tenant is switched off", async () => {
    const hold = held.envelope as Envelope;
    const ask = () => {
      const asked = { requestId: run.job.requestId, hold, review: review(hold) };
      return door2.client.countersign(asked, deadline).then(
        () => "signed",
        ({ reason }) => reason,
      );
    };
    await platform.switchOff([{ id: "1", kind: "pause", target: { scope: "tenant", tenant: "acme" } }]);
    await waitFor("the pause", async () => (await ask()) === "PAUSED");
    await platform.switchOff([]);
    await waitFor("the end of the pause", async () => (await ask()) === "signed");
  });

  test.each([
    ["a refusal", { decision: "deny" }],
    ["a review of another hold", { prev: "ee".repeat(32) }],
    ["a review of another attempt", { attempt: 2 }],
    ["a review for another tenant", { tenant: "other" }],
    ["a review about another request", { requestId: "another" }],
    ["a review that has expired", { issuedAt: "2026-01-01T00:00:00.000Z", expiresAt: "2026-01-02T00:00:00.000Z" }],
  ] satisfies [string, Partial<Predicate>][])("is not countersigned: %s", async (_, change) => {
    const hold = held.envelope as Envelope;
    const asked = door2.client.countersign(
      { requestId: run.job.requestId, hold, review: review(hold, change) },
      deadline,
    );
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  test("is not countersigned when the review is about other bytes", async () => {
    const hold = held.envelope as Envelope;
    const { requestId, attempt } = run.job;
    const facts = { requestId, attempt, modelDigest: platform.modelDigest, prev: envelopeDigest(hold), reviewer };
    const other = sign(
      platform,
      "governance",
      { name: "output", digest: "0".repeat(64) },
      { ...facts, stage: "review", decision: "allow" },
    );
    await expect(door2.client.countersign({ requestId, hold, review: other }, deadline)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  test("is not countersigned over a hard stop, whoever signed the review", async () => {
    const finding = { code: "TEST_HARD_STOP", category: "test_hard_stop", score: 1, hardStop: true, layer: "rules" };
    const { requestId, attempt } = run.job;
    const facts = { requestId, attempt, modelDigest: platform.modelDigest, policyDigest: "ab".repeat(32) };
    const stopped = sign(
      platform,
      "post-moderator",
      { name: "output", digest },
      {
        ...{ ...facts, stage: "door2", decision: "hold", prev: "ab".repeat(32), final: true },
        findings: [finding],
      },
    );
    const asked = door2.client.countersign({ requestId, hold: stopped, review: review(stopped) }, deadline);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "HARD_STOP" });
  });

  test("is not countersigned over a hold that no door signed", async () => {
    const { requestId } = run.job;
    const forged = clone(EnvelopeSchema, held.envelope!);
    for (const signature of forged.signatures) signature.sig = new Uint8Array(64);
    const asked = door2.client.countersign({ requestId, hold: forged, review: review(forged) }, deadline);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "BAD_SIGNATURE" });
  });

  test("is not countersigned over a hold that is not about the whole output", async () => {
    const { requestId, attempt } = run.job;
    const facts = { requestId, attempt, modelDigest: platform.modelDigest, policyDigest: "ab".repeat(32) };
    const body: Facts = { ...facts, stage: "door2", decision: "hold", prev: "ab".repeat(32) };
    const partial = sign(platform, "post-moderator", { name: "output", digest }, body);
    const asked = door2.client.countersign({ requestId, hold: partial, review: review(partial) }, deadline);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "HOLD_NOT_WHOLE" });
  });
});

describe("who may ask", () => {
  test.each(["gateway", "inference-worker"] as const)("not %s: only governance's certificate", async (service) => {
    const client = await door2.clientAs(service);
    const hold = held.envelope as Envelope;
    const asked = client.countersign({ requestId: run.job.requestId, hold, review: review(hold) }, deadline);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    client.close();
  });
});
