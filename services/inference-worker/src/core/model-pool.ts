import { setImmediate as nextTurn } from "node:timers/promises";
import { asAppError, type Logger, type WatchedState } from "@sallyport/runtime";
import type { ApprovedModel, Manifest } from "../domain/manifest.ts";
import { findApproved, planModels, servedNames } from "../domain/model-table.ts";
import { RunFailure } from "../domain/run-failure.ts";
import type { Engine } from "../engine/engine.ts";
import { EngineError } from "../engine/engine.ts";
import { modelFileExists, modelPath } from "./model-file.ts";

export interface ModelPoolOptions {
  manifest: WatchedState<Manifest>;
  storeDir: string;
  /** Names of the configured endpoints of model servers. */
  endpoints: ReadonlySet<string>;
  maxModels: number;
  createEngine: (model: ApprovedModel) => Engine;
  /** Names of models whose jobs can be taken; called with every change. */
  onServed: (names: ReadonlySet<string>) => void;
  /** Called with each new manifest, before anything else: runs of models that are not in it are to end. */
  onManifest: (manifest: Manifest) => void;
  log: Logger;
}

const rescanMs = 2_000;
const retryLoadMs = 30_000;

/** Keeps an engine for each approved model that is here, and none for any other. */
export class ModelPool implements AsyncDisposable {
  readonly #options: ModelPoolOptions;
  readonly #engines = new Map<string, Engine>();
  /** Digest → when loading may be tried again (performance.now). */
  readonly #failed = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #stopListening: () => void;
  /** Digest → name, of what was loaded or tried last. */
  readonly #names = new Map<string, string>();
  #changing: Promise<void> | undefined;
  #again = false;
  #served = "";

  constructor(options: ModelPoolOptions) {
    this.#options = options;
    this.#stopListening = options.manifest.onChange((manifest) => {
      // At once: loading others may take a while, and a revocation must not wait for it.
      options.onManifest(manifest);
      this.#change();
    });
    this.#timer = setInterval(() => this.#change(), rescanMs);
    this.#change();
  }

  /** For health and metrics: what is loaded, and what is approved and here but cannot be. */
  get states(): { digest: string; name: string; ready: boolean }[] {
    const loaded = [...this.#engines].map(([digest, engine]) => ({ digest, ready: engine.ready }));
    const failed = [...this.#failed.keys()].map((digest) => ({ digest, ready: false }));
    return [...loaded, ...failed].map((state) => ({ ...state, name: this.#names.get(state.digest) ?? "" }));
  }

  /** Throws RunFailure MODEL_NOT_APPROVED, EngineError ENGINE_UNAVAILABLE, or STATE_STALE (AppError). */
  engineFor(name: string, digest: string): Engine {
    this.assertApproved(name, digest);
    const engine = this.#engines.get(digest);
    if (engine === undefined) throw new EngineError("ENGINE_UNAVAILABLE", "the model is not loaded here");
    return engine;
  }

  /** Throws RunFailure MODEL_NOT_APPROVED, or STATE_STALE (AppError) when nobody knows. */
  assertApproved(name: string, digest: string): ApprovedModel {
    const model = findApproved(this.#options.manifest.get(), name, digest);
    if (model === undefined) throw new RunFailure("MODEL_NOT_APPROVED", "this model is not approved (any more)");
    return model;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stopListening();
    this.#stop.abort();
    await this.#changing;
    await Promise.all([...this.#engines.values()].map((engine) => engine.unload()));
    this.#engines.clear();
  }

  /** One change at a time; what comes meanwhile is looked at afterwards. */
  #change(): void {
    this.#again = true;
    this.#changing ??= this.#changeWhileAsked().finally(() => (this.#changing = undefined));
  }

  async #changeWhileAsked(): Promise<void> {
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      try {
        // A value is announced just before it counts as confirmed.
        await nextTurn();
        await this.#changeOnce();
      } catch (err) {
        if (asAppError(err).reason !== "STATE_STALE") this.#options.log.error({ err }, "models could not be updated");
      }
    }
  }

  async #changeOnce(): Promise<void> {
    const { manifest, endpoints, maxModels, log } = this.#options;
    const present = await this.#present(manifest.get());
    const loaded = new Set(this.#engines.keys());
    const approved = new Set(manifest.get().models.map(({ digest }) => digest));
    for (const digest of this.#failed.keys()) if (!approved.has(digest)) this.#failed.delete(digest);
    for (const digest of this.#names.keys()) if (!approved.has(digest)) this.#names.delete(digest);
    const plan = planModels({ manifest: manifest.get(), present, endpoints, loaded, maxModels });
    for (const digest of plan.stop) await this.#unload(digest);
    this.#announce();
    for (const model of plan.start) await this.#load(model);
    this.#announce();
    if (plan.surplus.length > 0) log.warn({ maxModels, left: plan.surplus.map(({ name }) => name) }, "too many models");
  }

  async #present({ models }: Manifest): Promise<Set<string>> {
    const present = new Set<string>();
    for (const { digest, engine } of models) {
      if (engine !== "llama" || (this.#failed.get(digest) ?? 0) > performance.now()) continue;
      if (await modelFileExists(modelPath(this.#options.storeDir, digest))) present.add(digest);
    }
    return present;
  }

  async #load(model: ApprovedModel): Promise<void> {
    const { createEngine, log } = this.#options;
    const { name, version, digest } = model;
    if (this.#stop.signal.aborted || (this.#failed.get(digest) ?? 0) > performance.now()) return;
    this.#names.set(digest, name);
    const engine = createEngine(model);
    try {
      await engine.load(this.#stop.signal);
      // Loading takes time: what was approved before it may not be any more.
      this.assertApproved(name, digest);
      this.#engines.set(digest, engine);
      this.#failed.delete(digest);
      log.info({ model: name, version, digest, engine: engine.kind }, "model loaded");
    } catch (err) {
      await engine.unload();
      if (this.#stop.signal.aborted) return;
      this.#failed.set(digest, performance.now() + retryLoadMs);
      log.error({ err, model: name, digest }, "model cannot be loaded");
    }
  }

  async #unload(digest: string): Promise<void> {
    const engine = this.#engines.get(digest);
    this.#engines.delete(digest);
    await engine?.unload();
    this.#options.log.info({ digest }, "model unloaded");
  }

  #announce(): void {
    const names = servedNames(this.#options.manifest.get(), new Set(this.#engines.keys()));
    const key = JSON.stringify([...names].sort());
    if (key === this.#served) return;
    this.#served = key;
    this.#options.onServed(names);
  }
}
