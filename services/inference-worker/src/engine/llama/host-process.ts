import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ChunkQueue } from "../chunk-queue.ts";
import { type Chunk, EngineError, type GenerationRequest } from "../engine.ts";
import { type HostCommand, type HostEvent, type LoadOptions, parseHostEvent } from "./protocol.ts";

export interface HostProcessOptions {
  load: LoadOptions;
  /** From the start of the process until the model can be used. */
  startupTimeoutMs: number;
  /** Longest silence of a run, whether it reads its prompt, writes or winds down. */
  stallTimeoutMs: number;
}

interface Run {
  queue: ChunkQueue;
  stall: NodeJS.Timeout;
}

const entry = fileURLToPath(new URL("./engine-host.ts", import.meta.url));
const stopTimeoutMs = 2_000;
/** More text than this for each token of context is nonsense. */
const maxCharactersPerToken = 256;

/** One life of an engine process, from fork to exit. Everything that goes wrong in it ends in EngineErrors. */
export class HostProcess {
  readonly #child: ChildProcess;
  readonly #options: HostProcessOptions;
  readonly #runs = new Map<number, Run>();
  /** Runs that wait for a free sequence, in order. */
  readonly #waiting: (() => void)[] = [];
  #nextRun = 0;
  #contextTokens = 0;
  #doomed = Promise.withResolvers<void>();
  #usable = true;
  #settleLoad: { resolve: () => void; reject: (error: EngineError) => void } | undefined;
  /** Resolves when the process is gone, with how it ended. */
  readonly exit: Promise<string>;

  private constructor(options: HostProcessOptions) {
    this.#options = options;
    this.#child = fork(entry, [], {
      execPath: process.execPath,
      execArgv: [],
      // Nothing of the worker's environment: no addresses, no paths of keys.
      env: {},
      cwd: "/",
      // "advanced": text goes through as it is, also lone surrogates. Native logs could quote a prompt: discarded.
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child.on("message", (message) => this.#receive(message));
    this.exit = new Promise((resolve) => {
      const ended = (how: string) => {
        this.#ended(how);
        resolve(how);
      };
      this.#child.on("error", (error) => this.#child.pid === undefined && ended(error.message));
      this.#child.on("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
    });
  }

  /** Rejects with MODEL_UNUSABLE, ENGINE_TIMEOUT, ENGINE_CRASHED or CANCELLED; the process is gone then. */
  static async start(options: HostProcessOptions, signal: AbortSignal): Promise<HostProcess> {
    if (signal.aborted) throw new EngineError("CANCELLED", "the engine is not wanted any more");
    const host = new HostProcess(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    host.#settleLoad = { resolve, reject };
    const abort = () => reject(new EngineError("CANCELLED", "the engine is not wanted any more"));
    signal.addEventListener("abort", abort, { once: true });
    const late = () => reject(new EngineError("ENGINE_TIMEOUT", "the model took too long to load"));
    const timer = setTimeout(late, options.startupTimeoutMs);
    try {
      host.#send({ type: "load", options: options.load });
      await promise;
      return host;
    } catch (error) {
      await host.kill();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      host.#settleLoad = undefined;
    }
  }

  /** False from the moment on that the process is to end, or has. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Resolves when it is not usable any more. */
  get doomed(): Promise<void> {
    return this.#doomed.promise;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get contextTokens(): number {
    return this.#contextTokens;
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<Chunk, void, void> {
    // Here and not in the process, where a run that waits its turn would look like one that stands still.
    while (this.#usable && !signal.aborted && this.#runs.size >= this.#options.load.sequences) {
      await this.#nextFree(signal);
    }
    if (signal.aborted) throw cancelled();
    if (!this.#usable) throw new EngineError("ENGINE_CRASHED", "the engine process is gone");
    const id = this.#nextRun++;
    const queue = new ChunkQueue(this.#contextTokens * maxCharactersPerToken);
    const stall = setTimeout(() => this.#stalled(id), this.#options.stallTimeoutMs);
    this.#runs.set(id, { queue, stall });
    const abort = () => queue.fail(cancelled());
    signal.addEventListener("abort", abort, { once: true });
    try {
      this.#send({ type: "generate", run: id, request });
      yield* queue;
    } finally {
      signal.removeEventListener("abort", abort);
      // Cancelled or not read to its end: the process still owes us the end of the run, and the timer watches over it.
      if (this.#runs.has(id)) {
        queue.fail(cancelled());
        this.#send({ type: "cancel", run: id });
      }
    }
  }

  /** Resolves when a run has ended, the process is going, or `signal` aborts: the caller looks again. */
  async #nextFree(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([promise, this.doomed]);
    const place = this.#waiting.indexOf(resolve);
    // Told, and told in vain: the next one may take the place.
    if (place >= 0) this.#waiting.splice(place, 1);
    else if (signal.aborted) this.#waiting.shift()?.();
  }

  /** Asks first, by closing the channel. */
  async stop(): Promise<void> {
    this.#doom();
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await this.exit;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.#end();
    await this.exit;
  }

  #doom(): void {
    this.#usable = false;
    this.#doomed.resolve();
  }

  #end(): void {
    this.#doom();
    this.#child.kill("SIGKILL");
  }

  #send(command: HostCommand): void {
    // A channel that closes under us is followed by the exit event, which settles everything.
    if (this.#child.connected) this.#child.send(command, () => {});
  }

  #receive(message: unknown): void {
    const event = parseHostEvent(message);
    // Whatever breaks the protocol is not our engine any more.
    if (event === undefined || !this.#accept(event)) this.#end();
  }

  #accept(event: HostEvent): boolean {
    if (event.type === "loaded") {
      this.#contextTokens = event.contextTokens;
      this.#settleLoad?.resolve();
      return true;
    }
    if (event.type === "unusable") {
      this.#settleLoad?.reject(new EngineError("MODEL_UNUSABLE", event.message));
      return true;
    }
    const run = this.#runs.get(event.run);
    if (run === undefined) return false;
    run.stall.refresh();
    if (event.type === "progress") return true;
    if (event.type === "text") return run.queue.push({ text: event.text, tokens: event.tokens });
    clearTimeout(run.stall);
    this.#runs.delete(event.run);
    this.#waiting.shift()?.();
    if (event.type === "failed") {
      run.queue.fail(new EngineError(event.code, event.message));
      return true;
    }
    const { finishReason, usage } = event;
    const accepted = run.queue.push({ text: "", tokens: 0, finishReason, usage });
    run.queue.end();
    return accepted;
  }

  #stalled(id: number): void {
    this.#end();
    this.#runs.get(id)?.queue.fail(new EngineError("ENGINE_TIMEOUT", "the engine stood still"));
  }

  #ended(how: string): void {
    this.#doom();
    const error = new EngineError("ENGINE_CRASHED", `the engine process ended (${how})`);
    this.#settleLoad?.reject(error);
    for (const { queue, stall } of this.#runs.values()) {
      clearTimeout(stall);
      queue.fail(error);
    }
    this.#runs.clear();
  }
}

function cancelled(): EngineError {
  return new EngineError("CANCELLED", "the run was cancelled");
}
