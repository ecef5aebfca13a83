import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import { AppError } from "@sallyport/runtime";

const identifier = /^[A-Za-z0-9_-]{1,64}$/;
const token = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;
const digest = /^[0-9a-f]{64}$/;
const maxAttempt = 1_000;
const maxPromptBytes = 1024 * 1024;

/**
 * Shape of a job, before anything of it is used: what fails here was not made by a gateway of ours, so there is no
 * request to answer to. Throws INVALID_ARGUMENT, which sends it to DEAD.
 */
export function checkJob(job: Job, subject: string): void {
  const problem = problemOf(job, subject);
  if (problem !== undefined) throw new AppError("INVALID_ARGUMENT", `job: ${problem}`, { reason: "JOB_MALFORMED" });
}

function problemOf(job: Job, subject: string): string | undefined {
  if (!identifier.test(job.requestId)) return "request_id is no identifier";
  if (job.attempt < 1 || job.attempt > maxAttempt) return `attempt must be from 1 to ${maxAttempt}`;
  if (!token.test(job.tenant)) return "tenant is no token";
  if (job.gatewayId === "" || job.gatewayId.length > 128) return "gateway_id is missing";
  if (job.model === "" || job.model.length > 128) return "model is missing";
  if (!digest.test(job.modelDigest)) return "model_digest is no SHA-256";
  if (!digest.test(job.requestDigest)) return "request_digest is no SHA-256";
  if (job.prompt.length === 0 || job.prompt.length > maxPromptBytes) return "prompt is empty or too long";
  if (job.deadlineMs <= 0n) return "deadline_ms is missing";
  if (subject !== subjects.job(job.model, job.requestId)) return "it came on another job's subject";
  return undefined;
}
