import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { canonicalBytes } from "@sallyport/attestation";
import { type AuditEvent, AuditEventSchema, BodyKind } from "@sallyport/proto/sallyport/audit/v1/audit";
import { leafHash } from "@sallyport/tlog";
import { describe, expect, it } from "vitest";
import { messageIdOf, readEvent } from "./event.ts";

const subject = "audit.gateway.request=2ereleased";
const fields = {
  v: 1,
  producer: "gateway",
  epoch: "e1",
  sequence: 7,
  time: "2026-01-02T03:04:05.678Z",
  event: "request.released",
  request: { id: "r1" },
};

function event(over: MessageInitShape<typeof AuditEventSchema> = {}, record: object = fields): AuditEvent {
  return create(AuditEventSchema, {
    producer: "gateway",
    epoch: "e1",
    sequence: 7n,
    record: canonicalBytes(record),
    requestId: "r1",
    terminal: true,
    ...over,
  });
}

function body(over: object = {}) {
  return {
    kind: BodyKind.OUTPUT,
    context: "verdict",
    attempt: 1,
    index: 0,
    ciphertext: new Uint8Array(28),
    ...over,
  };
}

describe("readEvent", () => {
  it("takes a whole event, and the leaf is the record byte for byte", () => {
    const message = event({ bodies: [body()], vaultSecret: { service: "audit", jwe: "jwe" } });
    const reading = readEvent(message, subject);
    expect(reading).toMatchObject({ ok: true, event: { requestId: "r1", terminal: true, jwe: "jwe" } });
    if (!reading.ok) throw new Error("unreachable");
    expect(reading.event.leaf).toEqual(leafHash(message.record));
    expect(messageIdOf(reading.event.place)).toBe("gateway.e1.7");
    expect(reading.event.bodies).toEqual([
      { kind: "output", context: "verdict", attempt: 1, index: 0, ciphertext: new Uint8Array(28) },
    ]);
  });

  it.each<[string, MessageInitShape<typeof AuditEventSchema>, string]>([
    ["in another service's name", { producer: "governance" }, subject],
    ["in the audit service's own name", { producer: "audit" }, "audit.audit.log=2estarted"],
    ["of a service that has nothing to say", { producer: "pre-moderator" }, "audit.pre-moderator.a=2eb"],
    ["with no number", { sequence: 0n }, subject],
    ["with a number beyond exact ones", { sequence: 2n ** 53n }, subject],
    ["with an epoch that is no token", { epoch: "a.b" }, subject],
  ])("gives no place to an event %s", (_what, over, on) => {
    expect(readEvent(event(over), on)).toEqual({ ok: false, reason: "PLACE_INVALID", place: undefined });
  });

  it.each<[string, AuditEvent]>([
    ["RECORD_NOT_CANONICAL", event({ record: Buffer.from(JSON.stringify(fields, null, 1)) })],
    ["RECORD_NOT_CANONICAL", event({ record: Buffer.from("{") })],
    ["RECORD_NOT_OBJECT", event({ record: Buffer.from("[]") })],
    ["RECORD_TOO_LONG", event({}, { ...fields, detail: "x".repeat(65_536) })],
    ["RECORD_VERSION", event({}, { ...fields, v: 2 })],
    ["RECORD_EVENT", event({}, { ...fields, event: "Request.Released" })],
    ["RECORD_SUBJECT", event({}, { ...fields, event: "request.blocked" })],
    ["RECORD_PLACE", event({}, { ...fields, sequence: 8 })],
    ["RECORD_PLACE", event({}, { ...fields, epoch: "e2" })],
    ["RECORD_PLACE", event({}, { ...fields, producer: "governance" })],
    ["RECORD_TIME", event({}, { ...fields, time: "2026-01-02" })],
    ["RECORD_TENANT", event({}, { ...fields, tenant: 5 })],
    ["RECORD_TENANT", event({}, { ...fields, tenant: "*" })],
    ["RECORD_TENANT", event({}, { ...fields, actor: { tenant: "Acme" } })],
    ["RECORD_TIME", event({}, { ...fields, time: "2026-19-02T03:04:05.678Z" })],
    ["RECORD_REQUEST", event({ requestId: "r2" })],
    ["RECORD_REQUEST", event({}, { ...fields, request: undefined })],
    ["RECORD_REQUEST", event({ requestId: "" })],
    ["SECRET_NOT_FOR_VAULT", event({ vaultSecret: { service: "gateway", jwe: "jwe" } })],
    ["BODY_CONTEXT", event({ bodies: [body({ context: "prompt" })] })],
    ["BODY_CONTEXT", event({ bodies: [body({ kind: BodyKind.UNSPECIFIED })] })],
    ["BODY_TOO_SHORT", event({ bodies: [body({ ciphertext: new Uint8Array(27) })] })],
    ["BODY_TWICE", event({ bodies: [body(), body()] })],
  ])("refuses with %s, and keeps the place so that it is accounted for", (reason, message) => {
    const place = { producer: "gateway", epoch: "e1", sequence: 7 };
    expect(readEvent(message, subject)).toEqual({ ok: false, reason, place });
  });

  it("takes an event without a request", () => {
    const record = { ...fields, producer: "governance", event: "model.approved", request: undefined };
    const message = event({ producer: "governance", requestId: "", terminal: false }, record);
    expect(readEvent(message, "audit.governance.model=2eapproved")).toMatchObject({
      ok: true,
      event: { requestId: undefined },
    });
  });
});
