import { describe, expect, test } from "vitest";
import {
  encodeReleaseTicket,
  envelopeDigest,
  type Predicate,
  saltedDigest,
  verifyReleaseTicket,
} from "../src/index.ts";
import { after, createChain, createWorld, MODEL, NOW, type Plan, plan, say, sha, utf8 } from "./fixture.ts";

const world = createWorld();
const refused = (code: string) => expect.objectContaining({ name: "TicketError", code });
const whole = createChain(world, { ...plan, release: "person" });
const chain = createChain(world, plan);

const refusalAt = (index: number, more: Partial<Predicate>) => {
  const prev = envelopeDigest(index === 0 ? chain.claim : chain.windows[index - 1]!.envelope);
  return say(world, plan, "door2", { bytes: utf8("bad"), index, prev, decision: "deny", ...more });
};

describe("a ticket file", () => {
  const { requestId, tenant, attempt, modality, salt } = plan;
  const about = { requestId, tenant, attempt, modality, salt, requestDigest: saltedDigest(salt, plan.request) };
  const { admission, claim, windows } = chain;
  const complete = encodeReleaseTicket({ ...about, admission, claim, windows });
  const later = new Date(after(86_400 * 30));

  test("still verifies after its envelopes expired, as of a time that is named or of their issue", () => {
    const expected = {
      outcome: "complete",
      windows: 3,
      bytes: 13,
      modelDigest: MODEL,
      final: true,
      requestId,
      requestSanitised: false,
    };
    expect(() => verifyReleaseTicket(complete, world.trust, { clock: () => later })).toThrow(refused("EXPIRED"));
    expect(verifyReleaseTicket(complete, world.trust, { clock: () => later, at: NOW })).toEqual(expected);
    expect(verifyReleaseTicket(complete, world.trust, { clock: () => later, at: "issue" })).toEqual(expected);
  });

  test("shows whether it answers the request that was sent, also where door 1 changed that", () => {
    const sanitised: Plan = { ...plan, admission: "sanitise", sent: utf8("a question with a secret") };
    const { admission: changed, claim: ran, windows: said } = createChain(world, sanitised);
    const ticket = encodeReleaseTicket({ ...about, admission: changed, claim: ran, windows: said });
    const verify = (json: string, sent: Uint8Array) => verifyReleaseTicket(json, world.trust, { at: NOW, sent });
    expect(verify(ticket, sanitised.sent!)).toMatchObject({ outcome: "complete", requestSanitised: true });
    expect(verify(complete, plan.request)).toMatchObject({ outcome: "complete", requestSanitised: false });
    for (const [json, sent] of [
      [ticket, plan.request],
      [ticket, utf8("another question")],
      [complete, sanitised.sent!],
    ] as const)
      expect(() => verify(json, sent)).toThrow(refused("REQUEST_MISMATCH"));
  });

  test("of a stopped, held or broken-off stream says so", () => {
    const report = (ticket: object, partial = false) =>
      verifyReleaseTicket(
        encodeReleaseTicket({ ...about, admission, claim, windows: windows.slice(0, 1), ...ticket }),
        world.trust,
        { at: NOW, partial },
      );
    expect(report({ end: refusalAt(1, {}) })).toMatchObject({ outcome: "stopped", windows: 1, final: false });
    expect(report({ end: refusalAt(1, { decision: "hold" }) }).outcome).toBe("held");
    expect(report({}, true).outcome).toBe("partial");
    expect(() => report({})).toThrow(refused("TRUNCATED"));
    expect(() => report({ windows, end: refusalAt(1, {}) })).toThrow(refused("OUT_OF_ORDER"));
    const end = refusalAt(1, { decision: "hold" });
    expect(report({ end, held: createChain(world, whole.plan).held }).outcome).toBe("released-by-person");
  });

  test.each([
    ["is no JSON", "{"],
    ["lacks a field", complete.replace('"requestId"', '"request"')],
    ["has one more", complete.replace("{", '{"extra": 1,')],
    ["has a short salt", complete.replace(/"salt": "[^"]*"/, '"salt": "AAAA"')],
    ["has broken base64", complete.replace(/"content": "[^"]*"/, '"content": "b25l*"')],
  ])("is refused when it %s", (_, json) => {
    expect(json).not.toBe(complete);
    expect(() => verifyReleaseTicket(json, world.trust, { at: NOW })).toThrow(refused("FIELD_INVALID"));
  });

  test("names the model that an auditor has to look up", () => {
    const approvedModel = (digest: string) => digest === sha("another");
    expect(() => verifyReleaseTicket(complete, world.trust, { at: NOW, approvedModel })).toThrow(
      refused("MODEL_NOT_APPROVED"),
    );
  });
});
