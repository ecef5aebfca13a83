import { AttestationError, type Signer, signStatement } from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import { AppError, type Bus, delay, type Ids, type Logger, type MessageMeta } from "@sallyport/runtime";
import { makeClaim } from "../domain/claim.ts";
import { toTurns } from "../domain/conversation.ts";
import { checkJob } from "../domain/job-checks.ts";
import { factsOf, RunFailure } from "../domain/run-failure.ts";
import { type SamplingDefaults, toSampling } from "../domain/sampling.ts";
import { WindowCutter } from "../domain/window-cutter.ts";
import type { Metrics } from "../metrics.ts";
import type { ModelPool } from "../models/model-pool.ts";
import { type AdmissionContext, type Admitted, admitJob } from "../runs/admission.ts";
import { RunOutput } from "../runs/run-output.ts";
import type { Run, RunRegistry } from "../runs/run-registry.ts";

export interface RunJobContext extends AdmissionContext {
  bus: Pick<Bus, "publish">;
  ids: Ids;
  log: Logger;
  signer: Signer;
  models: Pick<ModelPool, "engineFor" | "assertApproved">;
  runs: RunRegistry;
  metrics: Metrics;
  guardPrompt: string;
  windowTokens: number;
  sampling: SamplingDefaults;
}

const staleRetryMs = 100;

/**
 * One attempt at one request: verify, generate, publish windows. Resolves (and so acknowledges) once the run's last word
 * is confirmed, whatever it is; rejects only when the job is malformed or the bus did not take that word.
 */
export async function runJob(context: RunJobContext, job: Job, meta: MessageMeta): Promise<void> {
  checkJob(job, meta.subject);
  const { runs, clock, bus, ids } = context;
  // Delivered again while it still runs here: the acknowledgements did not get through.
  const running = runs.find(job.requestId, job.attempt);
  if (running !== undefined) return await running.done;
  const runId = ids.uuid();
  const output = new RunOutput({ bus, clock, job, runId, traceparent: meta.traceparent });
  const leftMs = Number(job.deadlineMs) - clock.now().getTime();
  const { requestId, attempt, model, modelDigest } = job;
  await runs.track({ requestId, attempt, model, modelDigest }, leftMs, async (run) => {
    const startedAt = performance.now();
    const log = context.log.child({ requestId, attempt, runId, model });
    try {
      if (meta.deliveryCount > 1) throw new RunFailure("ATTEMPT_LOST", "the run was interrupted");
      if (leftMs <= 0) throw new RunFailure("DEADLINE_EXCEEDED", "the request's time is over");
      const tokens = await execute(context, job, run, runId, output);
      context.metrics.count("done", tokens);
      log.info({ windows: output.windows, tokens, tookMs: Math.round(performance.now() - startedAt) }, "run done");
    } catch (error) {
      await giveUp(context, output, stopReason(run) ?? error, log);
    }
  });
}

/** Returns the number of tokens generated. */
async function execute(context: RunJobContext, job: Job, run: Run, runId: string, output: RunOutput): Promise<number> {
  const { models } = context;
  await confirmApproval(context, run);
  const admitted = await admitJob(job, context);
  const engine = models.engineFor(job.model, job.modelDigest);
  const sampling = toSampling(admitted.content.parameters, context.sampling, randomSeed(context.ids));
  const turns = toTurns(admitted.content, context.guardPrompt);
  await output.start(claimOf(context, job, admitted, { runId, engine: engine.kind, sampling }), run.signal);
  const cutter = new WindowCutter({ maxTokens: context.windowTokens });
  let tokens = 0;
  for await (const chunk of engine.generate({ turns, sampling }, run.signal)) {
    tokens += chunk.tokens;
    for (const window of cutter.push(chunk)) {
      await confirmApproval(context, run);
      await output.window(admitted.secret, window, run.signal);
    }
  }
  return tokens;
}

function claimOf(
  { signer, guardPrompt, clock }: RunJobContext,
  job: Job,
  { admission, secret, verifier }: Admitted,
  facts: Pick<Parameters<typeof makeClaim>[0], "runId" | "engine" | "sampling">,
) {
  const statement = makeClaim({ ...facts, job, admission, guardPrompt, salt: secret.salt, now: clock.now() });
  const claim = signStatement(statement, signer);
  try {
    // As the doors will see it: also that the request was admitted for this very model.
    verifier.claim(claim);
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    throw new RunFailure("ADMISSION_INVALID", "the request was not admitted for this model", error);
  }
  return claim;
}

/** The manifest has to say so now. While it is stale nothing goes out, and the run waits, within its deadline. */
async function confirmApproval({ models }: RunJobContext, run: Run): Promise<void> {
  while (true) {
    run.signal.throwIfAborted();
    try {
      models.assertApproved(run.model, run.modelDigest);
      return;
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "STATE_STALE") throw error;
      await delay(staleRetryMs, run.signal);
    }
  }
}

/** Tells door 2 why there is no answer. Rejects when that cannot be told: then the ledger finds out by itself. */
async function giveUp({ metrics }: RunJobContext, output: RunOutput, error: unknown, log: Logger): Promise<void> {
  const facts = factsOf(error);
  metrics.count(facts.code, 0);
  log.warn({ err: error, code: facts.code }, "run failed");
  await output.failure(facts);
  if (facts.code === "ADMISSION_INVALID") {
    // Beside the answer: a job that no door admitted belongs before the eyes of an operator.
    throw new AppError("PERMISSION_DENIED", "the job was not admitted", { reason: facts.code, cause: error });
  }
}

/** Why the run was told to stop: better than what the stop made fail. */
function stopReason(run: Run): unknown {
  return run.signal.aborted ? run.signal.reason : undefined;
}

function randomSeed(ids: Ids): number {
  return Buffer.from(ids.bytes(4)).readUInt32LE();
}
