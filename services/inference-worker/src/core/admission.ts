import { fromBinary } from "@bufbuild/protobuf";
import {
  AttestationError,
  type DecryptionKeys,
  type Link,
  open,
  type RequestSecret,
  saltedDigest,
  TicketVerifier,
  type TrustBundle,
  unwrapSecret,
} from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ChatContent, ChatContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import type { Clock } from "@sallyport/runtime";
import { RunFailure } from "../domain/run-failure.ts";

export interface AdmissionContext {
  trust: TrustBundle;
  encryptionKey: DecryptionKeys;
  clock: Clock;
  approvedModel: (digest: string) => boolean;
}

export interface Admitted {
  content: ChatContent;
  secret: RequestSecret;
  admission: Link;
  /** Has admitted the request; the run's own claim is its next link. */
  verifier: TicketVerifier;
}

/**
 * Opens a job and believes nothing that a signature does not cover: door 1 (and where it held, a person and door 2's
 * countersignature) must have admitted exactly these bytes. Throws RunFailure ADMISSION_INVALID.
 */
export async function admitJob(job: Job, context: AdmissionContext): Promise<Admitted> {
  try {
    const { bytes, secret } = await openPrompt(job, context.encryptionKey);
    const { trust, clock, approvedModel } = context;
    const { requestId, tenant, attempt, requestDigest } = job;
    const verifier = new TicketVerifier({
      ...{ trust, requestId, tenant, attempt, requestDigest, approvedModel },
      salt: secret.salt,
      modality: "text",
      clock: () => clock.now(),
    });
    const admission = verifyAdmission(job, verifier);
    const content = decodeContent(bytes);
    if (content.model !== job.model) throw new RunFailure("ADMISSION_INVALID", "the request is for another model");
    return { content, secret, admission, verifier };
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    throw new RunFailure("ADMISSION_INVALID", "the request's admission does not hold", error);
  }
}

async function openPrompt(job: Job, key: DecryptionKeys): Promise<{ bytes: Uint8Array; secret: RequestSecret }> {
  const { requestId } = job;
  const wrapped = job.secrets.find(({ service }) => service === "inference-worker");
  if (wrapped === undefined) throw new RunFailure("ADMISSION_INVALID", "the job has no secret for the worker");
  const secret = await unwrapSecret(wrapped.jwe, key, requestId);
  const bytes = open(secret, { requestId, kind: "prompt", attempt: 0, index: 0 }, job.prompt);
  if (saltedDigest(secret.salt, bytes) !== job.requestDigest) {
    throw new RunFailure("ADMISSION_INVALID", "the prompt is not what was admitted");
  }
  return { bytes, secret };
}

function decodeContent(bytes: Uint8Array): ChatContent {
  try {
    return fromBinary(ChatContentSchema, bytes);
  } catch {
    throw new RunFailure("ADMISSION_INVALID", "the prompt is no chat");
  }
}

function verifyAdmission({ admission }: Job, verifier: TicketVerifier): Link {
  const { door1, review, countersign } = admission ?? {};
  if (door1 === undefined) throw new AttestationError("CHAIN_BROKEN", "the job has no admission");
  if ((review === undefined) !== (countersign === undefined)) {
    throw new AttestationError("CHAIN_BROKEN", "a person's release is signed twice, or there is none");
  }
  return verifier.admit(door1, review && countersign && { review, countersign });
}
