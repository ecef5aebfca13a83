/** The review queue, on a whole governance with the real post-moderator and audit beside it. */

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { envelopeDigest, saltedDigest, TicketVerifier, verifyLink } from "@sallyport/attestation";
import {
  ConfirmMessageSchema,
  type ReviewDecisionMessage,
  ReviewDecisionMessageSchema,
} from "@sallyport/proto/sallyport/bus/v1/bus";
import { ItemState, ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { streams, subjects } from "@sallyport/proto/subjects";
import { type Bus, createConfirmer } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditRecords } from "./audit-records.ts";
import { type Held, type HeldOptions, holdRequest, modelDigest, sendHeld, tenant } from "./held-requests.ts";
import { type Platform, testPlatform } from "./platform.ts";

let platform: Platform;
let service: AsyncDisposable;
let gateway: Bus;
const decisions = new Map<string, ReviewDecisionMessage>();
const confirmed = new Set<string>();

beforeAll(async () => {
  platform = await testPlatform();
  service = await platform.start();
  await platform.startNeighbours();
  await platform.isReady();
  gateway = await platform.nats.bus("gateway", platform.log);
  const confirmer = createConfirmer(gateway);
  const [spec] = streams.DECISIONS.consumers;
  gateway.consume(
    "DECISIONS",
    spec,
    ReviewDecisionMessageSchema,
    (message, { msgId }) => {
      decisions.set(message.requestId, message);
      confirmer.confirm("governance", msgId);
    },
    { concurrency: 4 },
  );
  gateway.onSignal(subjects.confirm("gateway"), ConfirmMessageSchema, ({ messageIds }) => {
    for (const id of messageIds) confirmed.add(id);
  });
});
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await service?.[Symbol.asyncDispose]();
  await platform?.close();
});

const as = (subject: string, over: { groups?: string[]; tenant?: string } = {}) => ({
  bearer: platform.token({ subject, groups: over.groups ?? ["sallyport-reviewers"], tenant: over.tenant ?? tenant }),
  deadlineMs: 10_000,
});
const staff = { groups: ["sallyport-operators", "sallyport-reviewers", "sallyport-platform"] };
const makeToken = (who: string, subject: string) => {
  const token = { name: "a bot", serviceAccount: subject.replace("service/", ""), groups: ["sallyport-users"] };
  return platform.credentials.createToken(token, as(who, staff));
};
const justification = "It quotes the manual and nothing else.";
const list = async (who = as("rae")) => (await platform.reviews.listItems({ pageSize: 200 }, who)).items;
const queued = (requestId: string) =>
  waitFor("the item", async () => (await list()).find((item) => item.requestId === requestId));
const claim = (requestId: string, who = "rae") => platform.reviews.claimItem({ requestId }, as(who));
const read = (requestId: string, leaseId: string, who = "rae") =>
  platform.reviews.readItem({ requestId, leaseId }, as(who));
const decide = (requestId: string, leaseId: string, decision: ReviewDecision, who = "rae") =>
  platform.reviews.decideItem({ requestId, leaseId, decision, justification }, as(who));
const decisionOf = (requestId: string) => waitFor("the decision", () => decisions.get(requestId));

async function held(options: HeldOptions = {}): Promise<Held> {
  const request = await holdRequest(platform, gateway, options);
  if (!options.forged) await queued(request.requestId);
  return request;
}
const context = ({ requestId }: Held) => ({
  trust: platform.keys.trust,
  requestId,
  tenant,
  modality: "text" as const,
  clock: () => new Date(),
});

/** Events of a request as the audit service logged them. */
const recorded = (requestId: string) => auditRecords(platform, ({ request }) => request?.id === requestId);

describe("a held prompt", () => {
  it("is listed, claimed, read and released; the release stands up to the ticket verifier", async () => {
    const request = await held();
    const { requestId } = request;
    await waitFor("the confirmation", () => confirmed.has(request.msgId));
    const { item, leaseId } = await claim(requestId);
    expect(item).toMatchObject({ state: ItemState.CLAIMED, claimedBy: "rae", findings: [{ code: "TEST_REVIEW" }] });
    expect(timestampMs(item!.leaseExpiresAt!) - Date.now()).toBeGreaterThan(9 * 60_000);
    const bodies = await waitFor("the vault to have the prompt", () => read(requestId, leaseId));
    expect(Buffer.from(bodies.prompt).toString()).toBe(`prompt of ${requestId}`);
    expect(bodies.output).toHaveLength(0);

    const decided = await decide(requestId, leaseId, ReviewDecision.ALLOW);
    expect(decided.item).toMatchObject({ state: ItemState.DECIDED, decision: ReviewDecision.ALLOW, decidedBy: "rae" });
    const { allow, review, countersign } = await decisionOf(requestId);
    expect(allow).toBe(true);
    const { salt } = request.secret;
    const about = { requestDigest: requestDigestOf(request), attempt: 1, salt, approvedModel: () => true };
    const verifier = new TicketVerifier({ ...context(request), ...about });
    verifier.admit(request.hold, { review: review!, countersign: countersign! });

    const events = await waitFor("the records", async () => {
      const found = await recorded(requestId);
      return found.some(({ event }) => event === "review.decided") && found;
    });
    const mine = events.filter(({ actor }) => actor?.subject === "rae").map(({ event }) => event);
    expect(mine.slice(0, 2)).toEqual(["review.claimed", "review.read"]);
    expect(mine.at(-1)).toBe("review.decided");
    expect(events.some(({ event }) => event === "vault.opened")).toBe(true);
    expect(JSON.stringify(events)).not.toContain(justification);
    // The answer may get lost: asked again, it is the same, and nothing happens twice.
    expect((await decide(requestId, leaseId, ReviewDecision.ALLOW)).item).toEqual(decided.item);
    await expect(decide(requestId, leaseId, ReviewDecision.DENY)).rejects.toMatchObject({ reason: "ITEM_CLOSED" });
  });

  it("that is denied needs no countersignature, and says so under governance's key", async () => {
    const request = await held();
    const { leaseId } = await claim(request.requestId);
    await decide(request.requestId, leaseId, ReviewDecision.DENY);
    const { allow, review, countersign } = await decisionOf(request.requestId);
    expect([allow, countersign]).toEqual([false, undefined]);
    const places = [{ index: 0, prev: envelopeDigest(request.hold) }];
    verifyLink(review!, context(request), {
      stage: "review",
      attempt: 0,
      decisions: ["deny"],
      subject: { name: "request" },
      places,
    });
  });

  it("with a hard stop can be denied, never released", async () => {
    const { requestId } = await held({ hardStop: true });
    const { leaseId } = await claim(requestId);
    await expect(decide(requestId, leaseId, ReviewDecision.ALLOW)).rejects.toMatchObject({ reason: "HARD_STOP" });
    await decide(requestId, leaseId, ReviewDecision.DENY);
    expect((await decisionOf(requestId)).allow).toBe(false);
  });

  it("is in the queue once, however often it is sent", async () => {
    const request = await held();
    await sendHeld(gateway, { ...request, msgId: `${request.msgId}-again` });
    await waitFor("the confirmation", () => confirmed.has(`${request.msgId}-again`));
    expect((await list()).filter(({ requestId }) => requestId === request.requestId)).toHaveLength(1);
  });

  it("whose hold no door signed never comes before a person", async () => {
    const forged = await held({ forged: true });
    const schema = new URL(platform.env.DATABASE_URL).username;
    const admin = await platform.postgres.admin();
    await waitFor("its dead letter", async () => {
      const sql = `SELECT reason FROM ${schema}.dead_letters WHERE request_id = $1`;
      return (await admin.query(sql, [forged.requestId])).rows[0]?.reason === "BAD_SIGNATURE";
    });
    await admin.end();
    expect((await list()).some(({ requestId }) => requestId === forged.requestId)).toBe(false);
  });
});

describe("a held output", () => {
  it("is read with its prompt, and its release stands up to the ticket verifier", async () => {
    const request = await held({ stage: "door2" });
    const { leaseId } = await claim(request.requestId);
    const bodies = await waitFor("the vault to have both", () => read(request.requestId, leaseId));
    expect(Buffer.from(bodies.output).toString()).toBe(`output of ${request.requestId}`);
    await decide(request.requestId, leaseId, ReviewDecision.ALLOW);
    const { review, countersign } = await decisionOf(request.requestId);
    const about = { requestDigest: requestDigestOf(request), attempt: 1, salt: request.secret.salt };
    const verifier = new TicketVerifier({
      ...context(request),
      ...about,
      approvedModel: (digest) => digest === modelDigest,
    });
    verifier.admit(request.door1!);
    verifier.claim(request.claim!);
    expect(verifier.heldOutput(request.hold, review!, countersign!, request.output).final).toBe(true);
  });

  it("that needs two is released by two different people, and denied by one", async () => {
    const request = await held({ stage: "door2", secondReviewer: true });
    const { requestId } = request;
    const first = await claim(requestId);
    const passed = await decide(requestId, first.leaseId, ReviewDecision.ALLOW);
    expect(passed.item?.state).toBe(ItemState.SECOND_REVIEW);
    expect(decisions.has(requestId)).toBe(false);
    await expect(claim(requestId)).rejects.toMatchObject({ reason: "SAME_PERSON" });
    await expect(decide(requestId, first.leaseId, ReviewDecision.ALLOW)).rejects.toMatchObject({
      reason: "LEASE_LOST",
    });
    const second = await claim(requestId, "sam");
    await decide(requestId, second.leaseId, ReviewDecision.ALLOW, "sam");
    const { review } = await decisionOf(requestId);
    const { predicate } = JSON.parse(Buffer.from(review!.payload).toString());
    expect(predicate.reviewer).toMatchObject({ subject: "rae", secondSubject: "sam" });

    const other = await held({ secondReviewer: true });
    await decide(other.requestId, (await claim(other.requestId)).leaseId, ReviewDecision.DENY);
    expect((await decisionOf(other.requestId)).allow).toBe(false);
  });
});

describe("leases", () => {
  it("keep others out until they end, and their holder may renew", async () => {
    const { requestId } = await held();
    const mine = await claim(requestId);
    await expect(claim(requestId, "sam")).rejects.toMatchObject({ reason: "ITEM_CLAIMED" });
    await expect(read(requestId, mine.leaseId, "sam")).rejects.toMatchObject({ reason: "LEASE_LOST" });
    await expect(decide(requestId, mine.leaseId, ReviewDecision.DENY, "sam")).rejects.toMatchObject({
      reason: "LEASE_LOST",
    });
    const renewed = await claim(requestId);
    await expect(decide(requestId, mine.leaseId, ReviewDecision.DENY)).rejects.toMatchObject({ reason: "LEASE_LOST" });
    const schema = new URL(platform.env.DATABASE_URL).username;
    const admin = await platform.postgres.admin();
    await admin.query(`UPDATE ${schema}.items SET lease_expires_at = now() WHERE request_id = $1`, [requestId]);
    await admin.end();
    await expect(decide(requestId, renewed.leaseId, ReviewDecision.DENY)).rejects.toMatchObject({
      reason: "LEASE_LOST",
    });
    await decide(requestId, (await claim(requestId, "sam")).leaseId, ReviewDecision.DENY, "sam");
  });

  it("are given to one of many who claim at the same time", async () => {
    const { requestId } = await held();
    const people = ["r1", "r2", "r3", "r4", "r5"];
    const results = await Promise.allSettled(people.map((who) => claim(requestId, who)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("end with the item's time, which closes it", async () => {
    const { requestId } = await held({ waitMs: 7_000 });
    const { item, leaseId } = await claim(requestId);
    expect(timestampMs(item!.leaseExpiresAt!)).toBeLessThanOrEqual(timestampMs(item!.expiresAt!));
    await waitFor("expiry", async () => !(await list()).some((found) => found.requestId === requestId), {
      timeoutMs: 12_000,
    });
    await expect(decide(requestId, leaseId, ReviewDecision.ALLOW)).rejects.toMatchObject({ reason: "ITEM_CLOSED" });
    await waitFor("the state", async () => {
      const { items } = await platform.reviews.listItems({ includeClosed: true, pageSize: 200 }, as("rae"));
      return items.find((found) => found.requestId === requestId)?.state === ItemState.EXPIRED;
    });
  });
});

describe("who may", () => {
  it("review: reviewers of the tenant, and not their own requests", async () => {
    const { requestId } = await held({ subject: "rae" });
    await expect(claim(requestId)).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "NOT_AUTHORISED" });
    await expect(list(as("uma", { groups: ["sallyport-users"] }))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect((await list(as("eve", { tenant: "other" }))).length).toBe(0);
    const stranger = as("eve", { tenant: "other" });
    await expect(platform.reviews.claimItem({ requestId }, stranger)).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: "ITEM_NOT_FOUND",
    });
    const staff = as("eve", { tenant: "other", groups: ["sallyport-reviewers", "sallyport-platform"] });
    expect((await list(staff)).map((item) => item.requestId)).toContain(requestId);
    expect((await platform.reviews.claimItem({ requestId }, staff)).item?.claimedBy).toBe("eve");
    await expect(platform.reviews.listItems({}, { deadlineMs: 5_000 })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    await expect(claim("no-such-request")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it.each([
    ["made its token", async (subject: string) => makeToken("olga", subject)],
    [
      "made a token of it that was replaced and revoked since",
      async (subject: string) => {
        const { token } = await makeToken("olga", subject);
        const made = await platform.credentials.rotateToken({ id: token!.id }, as("ozan", staff));
        for (const id of [token!.id, made.token!.id])
          await platform.credentials.revokeToken({ id, justification }, as("ozan", staff));
      },
    ],
    [
      "bound its certificate",
      async (subject: string) => {
        const match = { case: "subjectDn", value: `CN=${subject}` } as const;
        const bound = { match, tenant, subject, groups: ["sallyport-users"] };
        await platform.credentials.bindCertificate(bound, as("olga", staff));
      },
    ],
  ])("review a service account's requests: not who %s", async (what, make) => {
    const subject = `service/${what.replaceAll(/[^a-z]/g, "-").slice(0, 40)}`;
    await make(subject);
    const { requestId } = await held({ subject });
    const maker = as("olga", staff);
    const refused = { code: "PERMISSION_DENIED", details: { why: "OWN_ITEM" } };
    await expect(platform.reviews.claimItem({ requestId }, maker)).rejects.toMatchObject(refused);
    const { leaseId } = await claim(requestId);
    const asked = { requestId, leaseId, decision: ReviewDecision.ALLOW, justification };
    await expect(platform.reviews.decideItem(asked, maker)).rejects.toMatchObject(refused);
    expect((await decide(requestId, leaseId, ReviewDecision.ALLOW)).item?.decidedBy).toBe("rae");
    const { requestId: others } = await held({ subject: "service/somebody-elses" });
    expect((await platform.reviews.claimItem({ requestId: others }, maker)).item?.claimedBy).toBe("olga");
  });

  it("decide: only with a reason of their own words", async () => {
    const { requestId } = await held();
    const { leaseId } = await claim(requestId);
    const short = platform.reviews.decideItem(
      { requestId, leaseId, decision: ReviewDecision.DENY, justification: "no" },
      as("rae"),
    );
    await expect(short).rejects.toMatchObject({ reason: "JUSTIFICATION_LENGTH" });
    await expect(decide(requestId, leaseId, ReviewDecision.UNSPECIFIED)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("page through the queue, oldest first, each item once", async () => {
    for (let n = 0; n < 3; n += 1) await held();
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await platform.reviews.listItems({ pageSize: 2, pageToken }, as("rae"));
      seen.push(...page.items.map(({ requestId }) => requestId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual((await list()).map(({ requestId }) => requestId));
    expect(new Set(seen).size).toBe(seen.length);
    await expect(platform.reviews.listItems({ pageToken: "x" }, as("rae"))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("without a neighbour", () => {
  it("post-moderation: nothing is released or half decided, a denial works, and afterwards a release does", async () => {
    const [one, two] = [await held(), await held()];
    const leases = [await claim(one.requestId), await claim(two.requestId)];
    await platform.postModerator.signal("SIGKILL");
    await expect(decide(one.requestId, leases[0]!.leaseId, ReviewDecision.ALLOW)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "NEIGHBOUR_UNAVAILABLE",
      message: expect.not.stringContaining("127.0.0.1"),
    });
    await decide(two.requestId, leases[1]!.leaseId, ReviewDecision.DENY);
    expect(decisions.has(one.requestId)).toBe(false);
    await platform.postModerator.start();
    await waitFor("the release", async () => await decide(one.requestId, leases[0]!.leaseId, ReviewDecision.ALLOW));
    expect((await decisionOf(one.requestId)).allow).toBe(true);
  });

  it("the bus: a decision is stored, and sent when it is back", async () => {
    const { requestId } = await held();
    const { leaseId } = await claim(requestId);
    await platform.nats.kill();
    await decide(requestId, leaseId, ReviewDecision.DENY);
    await platform.nats.start();
    expect((await decisionOf(requestId)).allow).toBe(false);
    const schema = new URL(platform.env.DATABASE_URL).username;
    const admin = await platform.postgres.admin();
    await waitFor("its row to be confirmed", async () => {
      const sql = `SELECT 1 FROM ${schema}.outbox WHERE stream = 'DECISIONS'`;
      return (await admin.query(sql)).rowCount === 0;
    });
    await admin.end();
  });
});

function requestDigestOf({ secret, prompt }: Held): string {
  return saltedDigest(secret.salt, prompt);
}
