/** Door 1's signed word on a request: attempt 0, index 0, the beginning of every release chain. */
import { createStatement, type Envelope, type Signer, signStatement } from "@sallyport/attestation";
import type { Door1Judgement } from "./judge-content.ts";

export interface Admission {
  readonly requestId: string;
  readonly tenant: string;
  readonly modelDigest: string;
  /** Salted digest of the content as it is let in. */
  readonly requestDigest: string;
  /** And as it was sent: where it was sanitised, it is signed of which bytes that was made. */
  readonly sentDigest: string;
  readonly issuedAt: Date;
  readonly ttlMs: number;
}

export function signAdmission(signer: Signer, judgement: Door1Judgement, admission: Admission): Envelope {
  const { requestId, tenant, modelDigest, requestDigest, sentDigest, issuedAt, ttlMs } = admission;
  const statement = createStatement(
    { name: "request", digest: requestDigest },
    {
      ...{ requestId, tenant, modelDigest },
      attempt: 0,
      stage: "door1",
      modality: "text",
      decision: judgement.decision,
      ...(judgement.decision === "sanitise" && { sentDigest }),
      findings: [...judgement.findings],
      policyDigest: judgement.policyDigest,
      index: 0,
      prev: null,
      final: false,
      issuedAt: issuedAt.toISOString(),
      expiresAt: new Date(issuedAt.getTime() + ttlMs).toISOString(),
    },
  );
  return signStatement(statement, signer);
}
