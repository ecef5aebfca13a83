import { AttestationError, type Envelope, type Signer, signStatement } from "@sallyport/attestation";
import type { Job } from "@sallyport/proto/sallyport/bus/v1/bus";
import {
  AppError,
  type Bus,
  delay,
  describeSpan,
  type Ids,
  type Logger,
  type MessageMeta,
  type SwitchFacts,
  stoppedBySwitch,
  type WatchedSwitches,
  withSpan,
} from "@sallyport/runtime";
import { type AdmissionContext, type Admitted as AdmittedJob, admitJob } from "../core/admission.ts";
import type { ModelPool } from "../core/model-pool.ts";
import { RunOutput } from "../core/run-output.ts";
import type { Run, RunRegistry } from "../core/run-registry.ts";
import { WindowSender } from "../core/window-sender.ts";
import { makeClaim } from "../domain/claim.ts";
import { toTurns } from "../domain/conversation.ts";
import { checkJob } from "../domain/job-checks.ts";
import type { ApprovedModel } from "../domain/manifest.ts";
import { factsOf, RunFailure } from "../domain/run-failure.ts";
import { type SamplingDefaults, toSampling } from "../domain/sampling.ts";
import { WindowCutter } from "../domain/window-cutter.ts";
import type { Chunk, Engine, Sampling } from "../engine/engine.ts";
import { countDone, countFirstToken, countRun, countWindow } from "../metrics.ts";

export interface RunJobContext extends AdmissionContext {
  bus: Pick<Bus, "publish">;
  ids: Ids;
  log: Logger;
  signer: Signer;
  models: Pick<ModelPool, "engineFor" | "assertApproved">;
  switches: Pick<WatchedSwitches, "find">;
  runs: RunRegistry;
  guardPrompt: string;
  windowTokens: number;
  sampling: SamplingDefaults;
}

const staleRetryMs = 100;
/** A model that speaks sooner has its first window told together with the start: one message less on each hop. */
const startWithinMs = 5;

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
  const output = new RunOutput({ bus, clock, job, runId });
  const leftMs = Number(job.deadlineMs) - clock.now().getTime();
  const { requestId, attempt, model, modelDigest } = job;
  await runs.track({ requestId, attempt, model, modelDigest, about: aboutOf(job) }, leftMs, async (run) => {
    const startedAt = performance.now();
    const log = context.log.child({ attempt, runId, model });
    let admitted: Admitted | undefined;
    try {
      if (leftMs <= 0) throw new RunFailure("DEADLINE_EXCEEDED", "the request's time is over");
      const approved = await confirmApproval(context, run);
      admitted = { ...(await admitJob(job, context)), engine: approved.engine };
      if (meta.deliveryCount > 1) throw new RunFailure("ATTEMPT_LOST", "the run was interrupted");
      const tokens = await execute(context, job, run, admitted, output);
      countDone(model, tokens, performance.now() - startedAt);
      log.info({ windows: output.windows, tokens, tookMs: Math.round(performance.now() - startedAt) }, "run done");
    } catch (error) {
      await giveUp({ ...context, log }, job, output, admitted, stopReason(run) ?? error);
    }
  });
}

type Admitted = AdmittedJob & { engine: Engine["kind"] };

/** Returns the number of tokens generated. */
async function execute(
  context: RunJobContext,
  job: Job,
  run: Run,
  admitted: Admitted,
  output: RunOutput,
): Promise<number> {
  const sampling = toSampling(admitted.content.parameters, context.sampling, randomSeed(context.ids));
  const turns = toTurns(admitted.content, context.guardPrompt);
  const engine = context.models.engineFor(job.model, job.modelDigest);
  const claim = claimOf(context, job, admitted, output.runId, sampling);
  output.claim = claim;
  const { secret } = admitted;
  const sender = new WindowSender({
    patienceMs: startWithinMs,
    begin: async (window) => {
      await confirmApproval(context, run);
      await output.start(claim, run.signal, window && { secret, window });
      if (window) countWindow();
    },
    send: async (window) => {
      await confirmApproval(context, run);
      await output.window(secret, window, run.signal);
      countWindow();
    },
  });
  const attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": admitted.engine,
    "gen_ai.request.model": job.model,
    "gen_ai.request.max_tokens": sampling.maxTokens,
    "gen_ai.request.temperature": sampling.temperature,
    "gen_ai.request.top_p": sampling.topP,
    "sallyport.model.digest": job.modelDigest,
    "sallyport.attempt": job.attempt,
  };
  try {
    const chunks = engine.generate({ turns, sampling }, run.signal);
    const speaking = () => speak(context.windowTokens, sender, chunks);
    return await withSpan(`chat ${job.model}`, { kind: "client", attributes }, speaking);
  } finally {
    // What is said next, if anything, is said after it.
    await sender.stop();
  }
}

/** Returns once everything is sent. */
async function speak(maxTokens: number, sender: WindowSender, chunks: AsyncIterable<Chunk>): Promise<number> {
  const startedAt = performance.now();
  const cutter = new WindowCutter({ maxTokens });
  let tokens = 0;
  for await (const chunk of chunks) {
    if (tokens === 0 && chunk.tokens > 0) countFirstToken(performance.now() - startedAt);
    tokens += chunk.tokens;
    for (const window of cutter.push(chunk)) await sender.push(window);
    describeEnd(chunk);
  }
  await sender.end();
  return tokens;
}

function describeEnd({ finishReason, usage }: Chunk): void {
  if (finishReason === undefined) return;
  describeSpan({
    "gen_ai.response.finish_reasons": [finishReason],
    "gen_ai.usage.input_tokens": usage?.promptTokens,
    "gen_ai.usage.output_tokens": usage?.completionTokens,
  });
}

function claimOf(
  { signer, guardPrompt, clock }: RunJobContext,
  job: Job,
  { admission, secret, verifier, engine }: Admitted,
  runId: string,
  sampling: Sampling,
): Envelope {
  const facts = { job, admission, runId, engine, sampling, guardPrompt, salt: secret.salt, now: clock.now() };
  const claim = signStatement(makeClaim(facts), signer);
  try {
    // As the doors will see it: also that the request was admitted for this very model.
    verifier.claim(claim);
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    throw new RunFailure("ADMISSION_INVALID", "the request was not admitted for this model", error);
  }
  return claim;
}

/** The manifest has to say so now, and no switch may stand against it. While either is stale nothing goes out, and the run waits, within its deadline. */
async function confirmApproval({ models, switches }: RunJobContext, run: Run): Promise<ApprovedModel> {
  while (true) {
    run.signal.throwIfAborted();
    try {
      if (switches.find(run.about)) throw new RunFailure(stoppedBySwitch, "the operators have switched this off");
      return models.assertApproved(run.model, run.modelDigest);
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "STATE_STALE") throw error;
      await delay(staleRetryMs, run.signal);
    }
  }
}

/** Tells door 2 why there is no answer. Rejects when that cannot be told: then the ledger finds out by itself. */
async function giveUp(
  context: RunJobContext,
  job: Job,
  output: RunOutput,
  admitted: Admitted | undefined,
  error: unknown,
): Promise<void> {
  const facts = factsOf(error);
  countRun(facts.code);
  describeSpan({ "error.type": facts.code, "sallyport.attempt": job.attempt });
  context.log.warn({ err: error, code: facts.code }, "run failed");
  await announce(context, job, output, admitted);
  await output.failure(facts);
  if (facts.code === "ADMISSION_INVALID") {
    // Beside the answer: a job that no door admitted belongs before the eyes of an operator.
    throw new AppError("PERMISSION_DENIED", "the job was not admitted", { reason: facts.code, cause: error });
  }
}

/** Door 2 knows from a run's start where its word goes; a run that failed before it is announced all the same. */
async function announce(
  context: RunJobContext,
  job: Job,
  output: RunOutput,
  admitted: Admitted | undefined,
): Promise<void> {
  if (output.begun || admitted === undefined) return;
  try {
    const sampling = toSampling(undefined, context.sampling, 0);
    await output.start(output.claim ?? claimOf(context, job, admitted, output.runId, sampling));
  } catch (err) {
    context.log.warn({ err }, "a failed run could not be announced");
  }
}

/** Why the run was told to stop: better than what the stop made fail. */
function stopReason(run: Run): unknown {
  return run.signal.aborted ? run.signal.reason : undefined;
}

function aboutOf({ identity, tenant, model }: Job): SwitchFacts {
  const { subject, issuer, credential } = identity ?? {};
  return { tenant, subject, issuer, credential, model };
}

function randomSeed(ids: Ids): number {
  return Buffer.from(ids.bytes(4)).readUInt32LE();
}
