/** One run under review: its verified beginning, its text, and where door 2's own chain stands. */
import {
  type DecryptionKeys,
  type Envelope,
  type Finding,
  type RequestSecret,
  TicketVerifier,
  type TrustBundle,
  unwrapSecret,
} from "@sallyport/attestation";
import type { Job, Start } from "@sallyport/proto/sallyport/bus/v1/bus";
import { AppError, type Clock } from "@sallyport/runtime";
import { PendingText } from "../domain/pending-text.ts";

export interface Run {
  readonly job: Job;
  readonly runId: string;
  readonly secret: RequestSecret;
  readonly claim: Envelope;
  readonly claimDigest: string;
  readonly text: PendingText;
  /** Whether the gateway has been sent the claim. */
  told: boolean;
  /** Index of the next window message. */
  next: number;
  /** Index of the next verdict, and the digest of the envelope before it. */
  verdict: { index: number; prev: string };
  /** What made it unclear, once something did: it stays so, whatever the whole looks like. */
  hold: { findings: readonly Finding[]; holdMs: number; secondReviewer: boolean } | undefined;
  /** streaming; holding (an unclear window was met: the rest is only read); over (denied, failed, cancelled or complete). */
  state: "streaming" | "holding" | "over";
}

export interface BeginOptions {
  readonly trust: TrustBundle;
  readonly encryptionKey: DecryptionKeys;
  readonly clock: Clock;
  readonly approvedModel: (digest: string) => boolean;
  readonly contextChars: number;
}

/** Verifies admission and claim as the gateway will. Throws TicketError or AppError: nothing of such a run is judged. */
export async function beginRun(start: Start, runId: string, options: BeginOptions): Promise<Run> {
  const { job, claim } = start;
  const door1 = job?.admission?.door1;
  if (!job || !claim || !door1)
    throw new AppError("INVALID_ARGUMENT", "a run without job, claim or admission", { reason: "START_INVALID" });
  const jwe = job.secrets.find(({ service }) => service === "post-moderator")?.jwe;
  if (!jwe) throw new AppError("INVALID_ARGUMENT", "a run without a secret for door 2", { reason: "START_INVALID" });
  const secret = await unwrapSecret(jwe, options.encryptionKey, job.requestId);
  const { trust, clock, approvedModel } = options;
  const verifier = new TicketVerifier({
    ...{ trust, approvedModel, clock: () => clock.now() },
    requestId: job.requestId,
    tenant: job.tenant,
    attempt: job.attempt,
    requestDigest: job.requestDigest,
    salt: secret.salt,
    modality: "text",
  });
  const { review, countersign } = job.admission!;
  verifier.admit(door1, review && countersign ? { review, countersign } : undefined);
  const { digest, statement } = verifier.claim(claim);
  if (statement.predicate.parameters?.runId !== runId) {
    throw new AppError("INVALID_ARGUMENT", "the claim is about another run", { reason: "START_INVALID" });
  }
  const text = new PendingText(options.contextChars);
  return {
    job,
    runId,
    secret,
    claim,
    claimDigest: digest,
    text,
    told: false,
    next: 1,
    verdict: { index: 0, prev: digest },
    hold: undefined,
    state: "streaming",
  };
}
