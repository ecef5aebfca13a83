/** What door 1 would sign of a request that it lets in: right in everything, so that only key or bytes can be wrong. */
import { createStatement, saltedDigest } from "@sallyport/attestation";
import type { JudgeRequestRequest } from "@sallyport/proto/sallyport/moderation/v1/moderation";

const lastsMs = 60_000;

export function doorStatement(asked: Pick<JudgeRequestRequest, "requestId" | "identity" | "content" | "salt">) {
  const issuedAt = new Date();
  return createStatement(
    { name: "request", digest: saltedDigest(asked.salt, asked.content) },
    {
      requestId: asked.requestId,
      tenant: asked.identity!.tenant,
      stage: "door1",
      modality: "text",
      attempt: 0,
      index: 0,
      decision: "allow",
      findings: [],
      policyDigest: "0".repeat(64),
      modelDigest: null,
      prev: null,
      final: false,
      issuedAt: issuedAt.toISOString(),
      expiresAt: new Date(issuedAt.getTime() + lastsMs).toISOString(),
    },
  );
}
