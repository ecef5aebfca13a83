import { canonicalBytes, createStatement, type Link, type Statement, saltedDigest } from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Engine, Sampling } from "../engine/engine.ts";

const claimLifetimeMs = 15 * 60 * 1_000;

export interface ClaimFacts {
  job: Job;
  /** The verified link that admitted the request. */
  admission: Link;
  runId: string;
  engine: Engine["kind"];
  sampling: Sampling;
  guardPrompt: string;
  salt: Uint8Array;
  now: Date;
}

/** The worker's word on what it runs: this approved model, on this admitted request, with these parameters. */
export function makeClaim({ job, admission, runId, engine, sampling, guardPrompt, salt, now }: ClaimFacts): Statement {
  // Salted: stop texts are the caller's, and a bare digest of them could be guessed.
  const paramsDigest = saltedDigest(salt, canonicalBytes({ ...sampling, guardPrompt }));
  return createStatement(
    { name: "request", digest: job.requestDigest },
    {
      requestId: job.requestId,
      attempt: job.attempt,
      tenant: job.tenant,
      stage: "worker",
      modality: "text",
      decision: "claim",
      findings: [],
      policyDigest: null,
      modelDigest: job.modelDigest,
      index: 0,
      prev: admission.digest,
      final: false,
      issuedAt: now.toISOString(),
      expiresAt: new Date(now.getTime() + claimLifetimeMs).toISOString(),
      parameters: { runId, seed: sampling.seed, paramsDigest, engine },
    },
  );
}
