import { backoff, delay, type Logger } from "@sallyport/runtime";
import { type Chunk, type Engine, EngineError, type GenerationRequest } from "../engine.ts";
import { HostProcess, type HostProcessOptions } from "./host-process.ts";

export interface LlamaEngineOptions extends HostProcessOptions {
  /** Resolves when the file is, at this moment, the approved one; asked before and after every load, and before a run. */
  verifyFile: () => Promise<void>;
  /** How long a run may wait for an engine that restarts. */
  readyTimeoutMs: number;
  restart: { baseMs: number; maxMs: number };
  /** Called when the process died and is started again. */
  onDeath?: () => void;
  log: Logger;
}

/** A llama.cpp model in a process of its own, which is started again, with growing pauses, whenever it dies. */
export class LlamaEngine implements Engine {
  readonly kind = "llama";
  readonly #options: LlamaEngineOptions;
  readonly #stop = new AbortController();
  #host: HostProcess | undefined;
  #becameReady = Promise.withResolvers<void>();
  #supervisor: Promise<void> | undefined;

  constructor(options: LlamaEngineOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#host?.usable === true;
  }

  /** Of the engine process, while it is ready. */
  get pid(): number | undefined {
    return this.#host?.pid;
  }

  /** The first start; it fails for good. From then on the engine keeps itself alive. */
  async load(signal: AbortSignal): Promise<void> {
    if (this.#supervisor !== undefined) throw new EngineError("ENGINE_FAILED", "an engine is loaded once");
    const host = await this.#start(AbortSignal.any([signal, this.#stop.signal]));
    this.#supervisor = this.#supervise(host);
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<Chunk, void, void> {
    await this.#options.verifyFile();
    const host = await this.#waitForHost(signal);
    yield* host.generate(request, signal);
  }

  async unload(): Promise<void> {
    this.#stop.abort();
    const host = this.#host;
    this.#host = undefined;
    await host?.stop();
    await this.#supervisor;
  }

  async #start(signal: AbortSignal): Promise<HostProcess> {
    await this.#options.verifyFile();
    const startedAt = performance.now();
    const host = await HostProcess.start(this.#options, signal);
    try {
      // The process opened the file by its path: had it been swapped meanwhile, this sees it.
      await this.#options.verifyFile();
    } catch (error) {
      await host.kill();
      throw error;
    }
    const loadMs = Math.round(performance.now() - startedAt);
    this.#options.log.info({ pid: host.pid, contextTokens: host.contextTokens, loadMs }, "engine ready");
    this.#host = host;
    this.#becameReady.resolve();
    return host;
  }

  async #supervise(first: HostProcess): Promise<void> {
    let host: HostProcess | undefined = first;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      if (host !== undefined) {
        await host.doomed;
        this.#host = undefined;
        this.#becameReady = Promise.withResolvers<void>();
        const exit = await host.exit;
        if (this.#stop.signal.aborted) return;
        this.#options.log.warn({ exit }, "engine process died");
        this.#options.onDeath?.();
      }
      try {
        await delay(backoff(failures + 1, this.#options.restart), this.#stop.signal);
        host = await this.#start(this.#stop.signal);
        failures = 0;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        host = undefined;
        failures += 1;
        this.#options.log.error({ err: error, failures }, "engine does not start");
      }
    }
  }

  async #waitForHost(signal: AbortSignal): Promise<HostProcess> {
    const limit = AbortSignal.any([signal, this.#stop.signal, AbortSignal.timeout(this.#options.readyTimeoutMs)]);
    const { promise: gaveUp, reject } = Promise.withResolvers<never>();
    const giveUp = () =>
      reject(
        signal.aborted
          ? new EngineError("CANCELLED", "the run was cancelled")
          : new EngineError("ENGINE_UNAVAILABLE", "the engine is starting again"),
      );
    if (limit.aborted) giveUp();
    limit.addEventListener("abort", giveUp, { once: true });
    try {
      while (this.#host?.usable !== true) await Promise.race([gaveUp, this.#becameReady.promise]);
      return this.#host;
    } finally {
      limit.removeEventListener("abort", giveUp);
      gaveUp.catch(() => {});
    }
  }
}
