import { describe, expect, test } from "vitest";
import {
  canonicalBytes,
  createStatement,
  decodeStatement,
  encodeStatement,
  envelopeDigest,
  type Predicate,
  roundScore,
  STAGE_RULES,
  STAGES,
  STATEMENT_PAYLOAD_TYPE,
  signStatement,
} from "../src/index.ts";
import { createWorld } from "./fixture.ts";

const hex = (digit: string) => digit.repeat(64);
const door2: Predicate = {
  requestId: "0190-req_1",
  attempt: 1,
  tenant: "acme",
  stage: "door2",
  modality: "text",
  decision: "allow",
  findings: [{ code: "LINK.REMOVED", category: "links", score: 0.123457, hardStop: false, layer: "rules" }],
  policyDigest: hex("a"),
  modelDigest: hex("b"),
  index: 2,
  prev: hex("c"),
  final: true,
  issuedAt: "2026-03-01T12:00:00.000Z",
  expiresAt: "2026-03-01T12:01:00.000Z",
};
const statement = (changes: object = {}) =>
  createStatement({ name: "output", digest: hex("d") }, { ...door2, ...changes } as Predicate);
const fieldOf = (value: unknown) => {
  try {
    decodeStatement(canonicalBytes(value));
    return "accepted";
  } catch (error) {
    return (error as { field?: string }).field;
  }
};

test("a statement's bytes and digest never change between versions", () => {
  const payload = encodeStatement(statement());
  expect(Buffer.from(payload).toString()).toBe(
    `{"_type":"https://in-toto.io/Statement/v1","predicate":{"attempt":1,"decision":"allow","expiresAt":` +
      `"2026-03-01T12:01:00.000Z","final":true,"findings":[{"category":"links","code":"LINK.REMOVED","hardStop":false,` +
      `"layer":"rules","score":0.123457}],"index":2,"issuedAt":"2026-03-01T12:00:00.000Z","modality":"text",` +
      `"modelDigest":"${hex("b")}","policyDigest":"${hex("a")}","prev":"${hex("c")}","requestId":"0190-req_1",` +
      `"stage":"door2","tenant":"acme"},"predicateType":"https://sallyport.dev/attestation/decision/v1","subject":` +
      `[{"digest":{"sha256-salted":"${hex("d")}"},"name":"output"}]}`,
  );
  expect(decodeStatement(payload)).toEqual(statement());
  expect(envelopeDigest({ payloadType: STATEMENT_PAYLOAD_TYPE, payload, signatures: [] })).toMatchInlineSnapshot(
    `"e934c4258c5557f7bc6d2e8b404143a347eb08e3af15b668b48b18388cd62ad7"`,
  );
});

describe("strict decoding names the field at fault", () => {
  const finding = door2.findings[0]!;
  test.each<[string, object]>([
    ["predicate.requestId", { requestId: "a b" }],
    ["predicate.requestId", { requestId: "" }],
    ["predicate.requestId", { requestId: "x".repeat(65) }],
    ["predicate.tenant", { tenant: "a\u0000b" }],
    ["predicate.attempt", { attempt: 1.5 }],
    ["predicate.attempt", { attempt: "1" }],
    ["predicate.attempt", { attempt: 0 }],
    ["predicate.stage", { stage: "door3" }],
    ["predicate.modality", { modality: "video" }],
    ["predicate.decision", { decision: "maybe" }],
    ["predicate.decision", { decision: "claim" }],
    ["predicate.findings", { findings: {} }],
    ["predicate.findings", { findings: Array(65).fill(finding) }],
    ["predicate.findings[0].score", { findings: [{ ...finding, score: 1.1 }] }],
    ["predicate.findings[0].score", { findings: [{ ...finding, score: 0.1234567 }] }],
    ["predicate.findings[0].score", { findings: [{ ...finding, score: "0" }] }],
    ["predicate.findings[0].hardStop", { findings: [{ ...finding, hardStop: 0 }] }],
    ["predicate.findings[0].layer", { findings: [{ code: "A", category: "b", score: 0, hardStop: false }] }],
    ["predicate.findings[0].extra", { findings: [{ ...finding, extra: 1 }] }],
    ["predicate.policyDigest", { policyDigest: hex("A") }],
    ["predicate.policyDigest", { policyDigest: null }],
    ["predicate.modelDigest", { modelDigest: null }],
    ["predicate.index", { index: -1 }],
    ["predicate.prev", { prev: null }],
    ["predicate.final", { final: "true" }],
    ["predicate.issuedAt", { issuedAt: "2026-03-01T12:00:00Z" }],
    ["predicate.issuedAt", { issuedAt: "2026-02-30T12:00:00.000Z" }],
    ["predicate.expiresAt", { expiresAt: door2.issuedAt }],
    ["predicate.expiresAt", { expiresAt: "2026-05-01T12:00:00.000Z" }],
    ["predicate.parameters", { parameters: { runId: "r", seed: 1, paramsDigest: hex("a"), engine: "llama" } }],
    ["predicate.reviewer", { reviewer: { subject: "a", justificationDigest: hex("a") } }],
    ["predicate.other", { other: 1 }],
  ])("%s", (field, changes) => {
    expect(fieldOf(statement(changes))).toBe(field);
    expect(fieldOf(statement())).toBe("accepted");
  });

  test("of the statement around the predicate", () => {
    const good = statement();
    const [subject] = good.subject;
    expect(fieldOf({ ...good, _type: "other" })).toBe("_type");
    expect(fieldOf({ ...good, predicateType: "other" })).toBe("predicateType");
    expect(fieldOf({ ...good, extra: 1 })).toBe("extra");
    expect(fieldOf({ ...good, subject: [] })).toBe("subject");
    expect(fieldOf({ ...good, subject: [subject, subject] })).toBe("subject");
    expect(fieldOf({ ...good, subject: [{ ...subject, name: "request" }] })).toBe("subject[0].name");
    const sha256 = { sha256: hex("a") };
    expect(fieldOf({ ...good, subject: [{ ...subject, digest: sha256 }] })).toBe("subject[0].digest.sha256");
    expect(fieldOf(JSON.parse('{"__proto__":{}}'))).toBe("__proto__");
    for (const value of [null, 1, "a", [], [good]]) expect(fieldOf(value)).toBe("");
  });
});

describe("each stage", () => {
  const reviewer = { subject: "ann", justificationDigest: hex("e") };
  const valid: Record<string, { name: "request" | "output"; changes: Partial<Predicate> }> = {
    door1: { name: "request", changes: { attempt: 0, index: 0, prev: null, modelDigest: null } },
    worker: {
      name: "request",
      changes: {
        decision: "claim",
        index: 0,
        final: false,
        policyDigest: null,
        parameters: { runId: "r", seed: 1, paramsDigest: hex("f"), engine: "llama" },
      },
    },
    watermarker: { name: "output", changes: { decision: "claim", final: false, policyDigest: null } },
    door2: { name: "output", changes: {} },
    review: { name: "output", changes: { index: 0, reviewer: { ...reviewer, secondSubject: "ben" } } },
    countersign: { name: "request", changes: { index: 0, attempt: 0 } },
  };

  test.each(STAGES)("%s may say what its rule allows and no other decision", (stage) => {
    const { name, changes } = valid[stage]!;
    const make = (more: Partial<Predicate>) =>
      createStatement({ name, digest: hex("d") }, { ...door2, stage, ...changes, ...more });
    expect(fieldOf(make({}))).toBe("accepted");
    const sentDigest = hex("5");
    for (const decision of ["allow", "deny", "hold", "sanitise", "claim"] as const) {
      const allowed = STAGE_RULES[stage].decisions.includes(decision);
      const changed = stage === "door1" && decision === "sanitise";
      const said = changed ? { decision, sentDigest } : { decision };
      expect(fieldOf(make(said))).toBe(allowed ? "accepted" : "predicate.decision");
      // Whoever changes a request says of which bytes, and nobody else does.
      const unsaid = changed ? { decision } : { decision, sentDigest };
      expect(fieldOf(make(unsaid))).toBe(allowed ? "predicate.sentDigest" : "predicate.decision");
    }
  });

  test("a second reviewer is a second person", () => {
    const twice = { ...reviewer, secondSubject: reviewer.subject };
    const { name, changes } = valid.review!;
    const body = { ...door2, stage: "review", ...changes, reviewer: twice } as Predicate;
    expect(fieldOf(createStatement({ name, digest: hex("d") }, body))).toBe("predicate.reviewer");
  });

  test("is signed only by a signer of that stage, and nothing invalid is signed at all", () => {
    const { signers } = createWorld();
    expect(() => signStatement(statement(), signers.door1)).toThrow(expect.objectContaining({ code: "WRONG_STAGE" }));
    const broken = statement({ index: -1 });
    expect(() => signStatement(broken, signers.door2)).toThrow(expect.objectContaining({ field: "predicate.index" }));
    expect(signStatement(statement(), signers.door2).signatures).toHaveLength(1);
  });
});

test("a score has six decimals, and one that is no number is refused rather than called harmless", () => {
  expect([roundScore(0.12345678), roundScore(-1), roundScore(7), roundScore(1 / 3)]).toEqual([
    0.123457, 0, 1, 0.333333,
  ]);
  const findings = [{ ...door2.findings[0]!, score: roundScore(Number.NaN) }];
  expect(() => encodeStatement(statement({ findings }))).toThrow(expect.objectContaining({ code: "FIELD_INVALID" }));
});
