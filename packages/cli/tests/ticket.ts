import { encodeReleaseTicket, saltedDigest } from "@sallyport/attestation";
import { createChain, createWorld, NOW, type Plan } from "../../attestation/tests/fixture.ts";

const text = (value: string) => new Uint8Array(Buffer.from(value));

/** A release ticket of three windows, with the trust that it needs. `content`: the first window, base64. */
export function makeTicket(asked: Partial<Plan> = {}) {
  const world = createWorld();
  const plan: Plan = {
    requestId: "r1",
    tenant: "acme",
    attempt: 1,
    runId: "run1",
    modality: "text",
    salt: new Uint8Array(32).fill(3),
    request: text("a question"),
    windows: [text("one "), text("two "), text("three")],
    admission: "allow",
    release: "windows",
    ...asked,
  };
  const { requestId, tenant, attempt, modality, salt } = plan;
  const { admission, claim, windows } = createChain(world, plan);
  const about = { requestId, tenant, attempt, modality, salt, requestDigest: saltedDigest(salt, plan.request) };
  return {
    json: encodeReleaseTicket({ ...about, admission, claim, windows }),
    cut: encodeReleaseTicket({ ...about, admission, claim, windows: windows.slice(0, 2) }),
    content: Buffer.from(plan.windows[0]!).toString("base64"),
    bundle: world.bundle,
    root: world.root.publicKey.export({ type: "spki", format: "pem" }),
    at: NOW.toISOString(),
  };
}
