import { ControlMessageSchema, JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { coreSubjects, ownConsumers } from "@sallyport/proto/subjects";
import { type Consumption, type Readiness, sendTelemetry, startHealth, stoppedBySwitch } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { ModelPool } from "./core/model-pool.ts";
import type { Run } from "./core/run-registry.ts";
import type { Manifest } from "./domain/manifest.ts";
import { findApproved } from "./domain/model-table.ts";
import { type RunJobContext, runJob } from "./handlers/run-job.ts";
import { stopRun } from "./handlers/stop-run.ts";
import { observeWorker } from "./metrics.ts";

/** What runs gets this long to finish when the worker stops; then it fails, and another attempt takes over. */
const finishMs = 4_000;

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, log, manifest, runs, switches } = context;
  stack.use(bus);
  stack.use(sendTelemetry(bus));
  stack.use(manifest);
  stack.use(switches);
  const intake = new Intake((name) => consume(context, () => models, name));
  const models: ModelPool = new ModelPool({
    ...{ manifest, log, storeDir: config.modelStoreDir, maxModels: config.maxModels },
    endpoints: new Set(Object.keys(config.remoteEndpoints)),
    createEngine: context.createEngine,
    onServed: (names) => intake.take(names),
    onManifest: (current) => stopRevoked(context, current),
  });
  stack.use(models);
  stack.use(intake);
  stack.defer(switches.onChange(() => stopSwitchedOff(context)));
  stack.defer(armStop(context));
  stack.defer(
    bus.onSignal(coreSubjects.control.pattern, ControlMessageSchema, (message) => stopRun({ runs, log }, message)),
  );
  const ready = () => readiness(context, models);
  stack.use(observeWorker({ runs, models, config }));
  stack.use(await startHealth(config.healthAddress, { ready }));
  signal.throwIfAborted();
  return stack.move();
}

/** Runs first of all when the service stops, but does not wait: the intake's disposal does, for the runs. */
function armStop({ runs }: Context): () => void {
  const stopAll = () => runs.stop(() => true, "WORKER_STOPPING", "the worker stops");
  return () => void setTimeout(stopAll, finishMs).unref();
}

function consume(context: Context, models: () => ModelPool, name: string): Consumption {
  const { bus, config, manifest } = context;
  const run: RunJobContext = {
    ...context,
    windowTokens: config.windowTokens,
    sampling: config.sampling,
    models: models(),
    approvedModel: (digest) => manifest.get().models.some((model) => model.digest === digest),
  };
  const isRemote = manifest.get().models.every((model) => model.name !== name || model.engine === "remote");
  return bus.consume("JOBS", ownConsumers.job(name), JobSchema, (job, meta) => runJob(run, job, meta), {
    concurrency: isRemote ? config.remoteSequences : config.sequences,
    create: true,
  });
}

/** One consumer a model name, while the name is served. */
class Intake implements AsyncDisposable {
  readonly #open: (name: string) => Consumption;
  readonly #consumptions = new Map<string, Consumption>();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(open: (name: string) => Consumption) {
    this.#open = open;
  }

  take(names: ReadonlySet<string>): void {
    if (this.#closed) return;
    for (const name of names) {
      if (!this.#consumptions.has(name)) this.#consumptions.set(name, this.#open(name));
    }
    for (const [name, consumption] of this.#consumptions) {
      if (!names.has(name)) this.#close(name, consumption);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const [name, consumption] of this.#consumptions) this.#close(name, consumption);
    await Promise.all(this.#closing);
  }

  #close(name: string, consumption: Consumption): void {
    this.#consumptions.delete(name);
    const closed = Promise.resolve(consumption[Symbol.asyncDispose]()).finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }
}

function stopRevoked({ runs, log }: Context, manifest: Manifest): void {
  const revoked = ({ model, modelDigest }: Run) => findApproved(manifest, model, modelDigest) === undefined;
  const stopped = runs.stop(revoked, "MODEL_NOT_APPROVED", "the model's approval was withdrawn");
  if (stopped > 0) log.warn({ stopped }, "runs of a revoked model stopped");
}

function stopSwitchedOff({ runs, switches, log }: Context): void {
  if (!switches.fresh) return;
  const off = ({ about }: Run) => switches.find(about) !== undefined;
  const stopped = runs.stop(off, stoppedBySwitch, "the operators have switched this off");
  if (stopped > 0) log.warn({ stopped }, "runs stopped that are switched off");
}

function readiness({ bus, manifest, switches }: Context, models: ModelPool): Readiness {
  const checks: Record<string, string> = {
    bus: bus.connected ? "ok" : "disconnected",
    models: manifest.fresh ? "ok" : "stale",
    switches: switches.fresh ? "ok" : "stale",
    engines: models.states.every(({ ready }) => ready) ? "ok" : "not all ready",
  };
  const loaded = new Set(models.states.filter(({ ready }) => ready).map(({ digest }) => digest));
  for (const { name, digest } of manifest.fresh ? manifest.get().models : []) {
    checks[`model ${name}`] = loaded.has(digest) ? "ok" : "not loaded";
  }
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
