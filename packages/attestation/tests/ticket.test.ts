import { describe, expect, test } from "vitest";
import { envelopeDigest, type Predicate, TicketVerifier, type TrustBundle } from "../src/index.ts";
import {
  after,
  type Chain,
  contextOf,
  createChain,
  createWorld,
  MODEL,
  NOW,
  plan,
  say,
  sha,
  utf8,
  verifierFor,
} from "./fixture.ts";

const world = createWorld();
const refused = (code: string) => expect.objectContaining({ name: "TicketError", code });
const whole = createChain(world, { ...plan, release: "person" });
const chain = createChain(world, plan);

/** A verifier that stands after the first `windows` windows of the chain. */
function begun(of: Chain, windows: number, overrides = {}): TicketVerifier {
  const verifier = verifierFor(world, of.plan, overrides);
  verifier.admit(of.admission[0]!);
  verifier.claim(of.claim);
  for (const { envelope, content, mark } of of.windows.slice(0, windows)) {
    if (mark !== undefined) verifier.mark(mark);
    verifier.window(envelope, content);
  }
  return verifier;
}

const refusalAt = (index: number, more: Partial<Predicate>) => {
  const prev = envelopeDigest(index === 0 ? chain.claim : chain.windows[index - 1]!.envelope);
  return say(world, plan, "door2", { bytes: utf8("bad"), index, prev, decision: "deny", ...more });
};

describe("a stream", () => {
  test("says which window is the final one", () => {
    const verifier = begun(chain, 2);
    const { envelope, content } = chain.windows[2]!;
    expect(verifier.window(envelope, content)).toMatchObject({ final: true, digest: envelopeDigest(envelope) });
    expect(begun(chain, 0).window(chain.windows[0]!.envelope, chain.windows[0]!.content).final).toBe(false);
  });

  test("goes on after a refused window, from where it was", () => {
    const verifier = begun(chain, 1);
    const [, second, third] = chain.windows;
    expect(() => verifier.window(third!.envelope, third!.content)).toThrow(refused("CHAIN_BROKEN"));
    expect(() => verifier.window(second!.envelope, utf8("other"))).toThrow(refused("SUBJECT_MISMATCH"));
    verifier.window(second!.envelope, second!.content);
    expect(verifier.window(third!.envelope, third!.content).final).toBe(true);
  });

  test("ends with door 2's deny, also a hard stop, and releases nothing after it", () => {
    const verifier = begun(chain, 1);
    const findings = [{ code: "STOP", category: "test", score: 1, hardStop: true, layer: "rules" }];
    const deny = verifier.decisionOnly(refusalAt(1, { findings }));
    expect(deny.statement.predicate.decision).toBe("deny");
    const { envelope, content } = chain.windows[1]!;
    expect(() => verifier.window(envelope, content)).toThrow(refused("OUT_OF_ORDER"));
    const { hold, review, countersign, content: all } = whole.held!;
    expect(() => verifier.heldOutput(hold, review, countersign, all)).toThrow(refused("OUT_OF_ORDER"));
  });

  test("is not ended by a deny that is forged or of another place", () => {
    const verifier = begun(chain, 1);
    expect(() => verifier.decisionOnly(refusalAt(2, {}))).toThrow(refused("CHAIN_BROKEN"));
    expect(() => verifier.decisionOnly(refusalAt(1, { index: 5 }))).toThrow(refused("INDEX_MISMATCH"));
    expect(() => verifier.decisionOnly(refusalAt(1, { decision: "allow" }))).toThrow(refused("DECISION_REFUSED"));
    const forged = { ...refusalAt(1, {}), signatures: chain.windows[0]!.envelope.signatures };
    expect(() => verifier.decisionOnly(forged)).toThrow(refused("BAD_SIGNATURE"));
    expect(verifier.window(chain.windows[1]!.envelope, chain.windows[1]!.content).final).toBe(false);
  });

  test("that was held is released whole by a person, and only whole", () => {
    const verifier = begun(chain, 1);
    verifier.decisionOnly(refusalAt(1, { decision: "hold" }));
    const { envelope, content } = chain.windows[1]!;
    expect(() => verifier.window(envelope, content)).toThrow(refused("OUT_OF_ORDER"));
    const { hold, review, countersign, content: all } = whole.held!;
    verifier.decisionOnly(hold);
    expect(() => verifier.heldOutput(hold, review, countersign, utf8("one two"))).toThrow(refused("SUBJECT_MISMATCH"));
    expect(() => verifier.heldOutput(hold, countersign, review, all)).toThrow(refused("STAGE_UNEXPECTED"));
    expect(verifier.heldOutput(hold, review, countersign, all).final).toBe(true);
    expect(() => verifier.heldOutput(hold, review, countersign, all)).toThrow(refused("OUT_OF_ORDER"));
  });

  test("stops at the window after its model was revoked", () => {
    let approved = true;
    const verifier = begun(chain, 1, { approvedModel: () => approved });
    approved = false;
    const { envelope, content } = chain.windows[1]!;
    expect(() => verifier.window(envelope, content)).toThrow(refused("MODEL_NOT_APPROVED"));
  });

  test("stops when the trust bundle runs out", () => {
    const trust: TrustBundle = {
      ...world.trust,
      assertCurrent: (at) => world.trust.assertCurrent(new Date(at.getTime() + 365 * 86_400_000)),
    };
    expect(() => verifierFor(world, plan, { trust }).admit(chain.admission[0]!)).toThrow(refused("TRUST_EXPIRED"));
  });

  test("is judged to the millisecond: 5 s of clock skew and the last moment before expiry pass", () => {
    const at = (ms: number) => () => new Date(NOW.getTime() + ms);
    const admit = (ms: number) => () => verifierFor(world, plan, { clock: at(ms) }).admit(chain.admission[0]!);
    expect(admit(-5_000)).not.toThrow();
    expect(admit(-5_001)).toThrow(refused("NOT_YET_VALID"));
    expect(admit(59_999)).not.toThrow();
    expect(admit(60_000)).toThrow(refused("EXPIRED"));
  });

  test("has one order: admit, claim, windows", () => {
    const verifier = verifierFor(world, plan);
    const { envelope, content } = chain.windows[0]!;
    expect(() => verifier.claim(chain.claim)).toThrow(refused("OUT_OF_ORDER"));
    expect(() => verifier.window(envelope, content)).toThrow(refused("OUT_OF_ORDER"));
    expect(() => verifier.decisionOnly(envelope)).toThrow(refused("OUT_OF_ORDER"));
    verifier.admit(chain.admission[0]!);
    expect(() => verifier.admit(chain.admission[0]!)).toThrow(refused("OUT_OF_ORDER"));
    expect(() => verifier.window(envelope, content)).toThrow(refused("OUT_OF_ORDER"));
    verifier.claim(chain.claim);
    expect(() => verifier.claim(chain.claim)).toThrow(refused("OUT_OF_ORDER"));
  });

  test.each([{ attempt: 0 }, { salt: new Uint8Array(31) }, { requestDigest: "" }])("needs a context: %o", (wrong) => {
    expect(() => verifierFor(world, plan, wrong)).toThrow(expect.objectContaining({ code: "FIELD_INVALID" }));
  });
});

describe("the model", () => {
  const other = sha("another approved model");
  const both = { approvedModel: (digest: string) => digest === MODEL || digest === other };
  const change = () => ({ modelDigest: other });

  test("is refused at the claim already, before anything is released", () => {
    const verifier = verifierFor(world, plan, { approvedModel: () => false });
    verifier.admit(chain.admission[0]!);
    expect(() => verifier.claim(chain.claim)).toThrow(refused("MODEL_NOT_APPROVED"));
  });

  test("is the claimed one to the end, even where the other is approved as well", () => {
    const mixed = createChain(world, plan, { window1: { change } });
    expect(() => begun(mixed, 2, both)).toThrow(refused("MODEL_MISMATCH"));
    const admitted = createChain(world, plan, { door1: { change } });
    expect(() => begun(admitted, 0, both)).toThrow(refused("MODEL_MISMATCH"));
  });

  test("is the one that a person released the output of, and still approved then", () => {
    const release = (of: Chain, overrides: object, revoke = () => {}) => {
      const verifier = begun(of, 0, overrides);
      revoke();
      const { hold, review, countersign, content } = of.held!;
      return () => verifier.heldOutput(hold, review, countersign, content);
    };
    for (const place of ["heldReview", "heldCountersign"]) {
      const mixed = createChain(world, whole.plan, { [place]: { change } });
      expect(release(mixed, both)).toThrow(refused("MODEL_MISMATCH"));
    }
    let approved = true;
    const revoke = () => {
      approved = false;
    };
    expect(release(whole, { approvedModel: () => approved }, revoke)).toThrow(refused("MODEL_NOT_APPROVED"));
    expect(release(whole, both)).not.toThrow();
  });
});

describe("a person", () => {
  const held = createChain(world, { ...plan, admission: "hold" });
  const [door1, review, countersign] = held.admission;

  test("lets a held request in only with door 2's countersignature", () => {
    expect(() => verifierFor(world, plan).admit(door1!)).toThrow(refused("DECISION_REFUSED"));
    const alone = { review: review!, countersign: review! };
    expect(() => verifierFor(world, plan).admit(door1!, alone)).toThrow(refused("STAGE_UNEXPECTED"));
    expect(() => verifierFor(world, plan).admit(door1!, { review: review!, countersign: countersign! })).not.toThrow();
  });

  test("may decide long after the hold expired, but not be late with the release", () => {
    const minutes = (n: number) => ({ issuedAt: after(60 * n), expiresAt: after(60 * n + 60) });
    const slow = createChain(world, whole.plan, {
      heldReview: { change: () => minutes(60) },
      heldCountersign: { change: () => minutes(60) },
    });
    const release = (at: Date) => () => {
      // As a gateway does after a restart: its ledger says that admission and claim were in time.
      const context = { ...contextOf(world, slow.plan), clock: () => at, at: "issue" as "issue" | undefined };
      const verifier = new TicketVerifier(context);
      verifier.admit(slow.admission[0]!);
      verifier.claim(slow.claim);
      context.at = undefined;
      const { hold, review, countersign, content } = slow.held!;
      return verifier.heldOutput(hold, review, countersign, content).final;
    };
    expect(release(new Date(after(3_601)))()).toBe(true);
    expect(release(new Date(after(3_660)))).toThrow(refused("EXPIRED"));
    expect(release(new Date(after(3_590)))).toThrow(refused("NOT_YET_VALID"));
  });

  test("never overrules a hard stop, whoever signs", () => {
    const findings = [{ code: "STOP", category: "test", score: 1, hardStop: true, layer: "rules" }];
    const change = () => ({ findings });
    const stopped = createChain(world, held.plan, { door1: { change } });
    const [first, second, third] = stopped.admission;
    const release = { review: second!, countersign: third! };
    expect(() => verifierFor(world, plan).admit(first!, release)).toThrow(refused("HARD_STOP"));
    const output = createChain(world, whole.plan, { hold: { change } });
    const evidence = output.held!;
    const verifier = begun(output, 0);
    expect(() => verifier.heldOutput(evidence.hold, evidence.review, evidence.countersign, evidence.content)).toThrow(
      refused("HARD_STOP"),
    );
  });
});

describe("an image", () => {
  const picture = createChain(world, { ...plan, modality: "image", windows: [utf8("pixels")] });
  const { envelope, content, mark } = picture.windows[0]!;

  test("is released only when these very bytes were marked", () => {
    const unmarked = say(world, picture.plan, "door2", { bytes: content, prev: envelopeDigest(picture.claim) });
    expect(() => begun(picture, 0).window(unmarked, content)).toThrow(refused("SUBJECT_MISMATCH"));
    const verifier = begun(picture, 0);
    verifier.mark(mark!);
    const other = utf8("other pixels");
    const swapped = say(world, picture.plan, "door2", { bytes: other, prev: envelopeDigest(mark!), final: true });
    expect(() => verifier.window(swapped, other)).toThrow(refused("SUBJECT_MISMATCH"));
    expect(verifier.window(envelope, content).final).toBe(true);
  });

  test("is the only thing that is marked", () => {
    expect(() => begun(chain, 0).mark(mark!)).toThrow(refused("OUT_OF_ORDER"));
  });
});
