/** An output of a request that door 1 changed: taken only where door 1 signed that it changed the one that was sent here. */
import { create } from "@bufbuild/protobuf";
import { saltedDigest } from "@sallyport/attestation";
import { ChainSchema, WindowSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createChain, createWorld, NOW, type Plan, plan, utf8 } from "../../attestation/tests/fixture.ts";
import { OutputVerifier } from "../src/verify/output.ts";

const world = createWorld();
const sent = utf8("a question with a secret");

beforeAll(() => void vi.useFakeTimers({ now: NOW, toFake: ["Date"] }));
afterAll(() => void vi.useRealTimers());

/** As a caller who sent `content` hears the plan's first window. */
function hear(content: Uint8Array, more: Partial<Plan>) {
  const asked: Plan = { ...plan, ...more };
  const { admission, claim, windows } = createChain(world, asked);
  const { tenant, attempt, salt } = asked;
  const chain = create(ChainSchema, {
    tenant,
    salt,
    requestDigest: saltedDigest(salt, asked.request),
    admission,
    claim,
  });
  const verifier = new OutputVerifier({ trust: world.trust, requestId: asked.requestId, content });
  const [{ envelope: ticket, content: bytes }] = windows as [(typeof windows)[number]];
  verifier.window(create(WindowSchema, { attempt, index: 0, content: bytes, ticket, chain }));
}

test("an output of what door 1 made of this request is taken", () => {
  expect(() => hear(sent, { admission: "sanitise", sent })).not.toThrow();
  expect(() => hear(plan.request, {})).not.toThrow();
});

test("one of what it made of another is not, nor one of another request that it left as it was", () => {
  const refused = expect.objectContaining({ name: "VerificationError", reason: "REQUEST_MISMATCH" });
  expect(() => hear(sent, { admission: "sanitise", sent: utf8("somebody else's") })).toThrow(refused);
  expect(() => hear(sent, {})).toThrow(expect.objectContaining({ name: "VerificationError" }));
  expect(() => hear(plan.request, { admission: "sanitise", sent })).toThrow(refused);
});
