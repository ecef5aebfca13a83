/** Door 2's statements. Times come from the bus, so that a replay signs the same bytes. */
import { createStatement, type Envelope, type Finding, type Signer, signStatement } from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";

export interface Verdict {
  readonly decision: "allow" | "sanitise" | "deny" | "hold";
  /** Salted digest of the exact bytes. */
  readonly outputDigest: string;
  readonly findings: readonly Finding[];
  readonly policyDigest: string;
  readonly index: number;
  readonly prev: string;
  readonly final: boolean;
  readonly issuedAtMs: number;
  readonly ttlMs: number;
}

export function signVerdict(signer: Signer, job: Job, verdict: Verdict): Envelope {
  const { issuedAtMs, ttlMs, outputDigest, findings, ...rest } = verdict;
  const statement = createStatement(
    { name: "output", digest: outputDigest },
    {
      ...rest,
      requestId: job.requestId,
      attempt: job.attempt,
      tenant: job.tenant,
      stage: "door2",
      modality: "text",
      findings: [...findings],
      modelDigest: job.modelDigest,
      issuedAt: new Date(issuedAtMs).toISOString(),
      expiresAt: new Date(issuedAtMs + ttlMs).toISOString(),
    },
  );
  return signStatement(statement, signer);
}
