import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { signalGroup } from "./identity.ts";
import type { LogFile } from "./log-file.ts";

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 30_000;
/** Up for this long, a child counts as well again: its next crash starts with the first backoff. */
const STEADY_MS = 30_000;
const START_ATTEMPTS = 4;
const READY_POLL_MS = 40;

export interface ProcessSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly user?: { readonly uid: number; readonly gid: number };
  /** An IPC channel whose end tells the child that the runner is gone. */
  readonly ipc: boolean;
  readonly stopSignal: NodeJS.Signals;
  readonly stopTimeoutMs: number;
  readonly readyTimeoutMs: number;
  /** Called again until it resolves with true. Rejections count as not ready. */
  readonly ready: () => Promise<boolean>;
  /** Called after every start, once ready: a first start waits for it and fails with it. */
  readonly onReady?: () => Promise<void>;
  /** Called before every start. */
  readonly beforeStart?: () => void;
  /** Called with everything that it prints. */
  readonly onLine?: (line: string) => void;
}

export interface SupervisedOptions {
  readonly log: LogFile;
  readonly report: (line: string) => void;
  /** False once everything is being stopped. */
  readonly mayStart: () => boolean;
  readonly started: (name: string, pid: number) => void;
  readonly ended: (pid: number) => void;
}

interface Life {
  readonly child: ChildProcess;
  /** How it ended, in words. */
  readonly exited: Promise<string>;
}

/** One child process that is kept running until it is told to stop. */
export class Supervised {
  readonly name: string;
  restarts = 0;
  readonly #spec: ProcessSpec;
  readonly #options: SupervisedOptions;
  #child: ChildProcess | undefined;
  #loop: Promise<void> | undefined;
  #wanted = false;
  /** How often it was told to stop. */
  #stops = 0;
  #isReady = false;
  #wake: (() => void) | undefined;

  constructor(spec: ProcessSpec, options: SupervisedOptions) {
    this.name = spec.name;
    this.#spec = spec;
    this.#options = options;
  }

  /** Undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when it is ready; rejects with its last words when it does not come up. */
  async start(): Promise<void> {
    if (this.#loop) return;
    if (!this.#options.mayStart()) throw new Error("the platform is stopping");
    const first = Promise.withResolvers<void>();
    this.#wanted = true;
    this.#loop = this.#keepRunning(first)
      .catch((error: Error) => {
        this.#options.report(`${this.name} is given up: ${error.message}`);
        first.reject(error);
      })
      .finally(() => {
        this.#loop = undefined;
      });
    await first.promise;
  }

  /** Asks it to end, waits, then kills its process group. It stays down. */
  async stop(): Promise<void> {
    this.#stops += 1;
    this.#wanted = false;
    this.#wake?.();
    if (this.#child) this.#end(this.#child);
    await this.#loop;
  }

  /** Nothing where somebody wants it to be down: before this, or meanwhile. */
  async restart(): Promise<void> {
    if (!this.#wanted) return;
    const stopped = this.stop();
    const own = this.#stops;
    await stopped;
    if (this.#stops === own) await this.start();
  }

  /** Sends a signal to the process alone; a death that follows is a crash like any other. */
  kill(signal: NodeJS.Signals): void {
    if (!this.#child?.kill(signal)) throw new Error(`${this.name} is not running`);
  }

  /** Resolves once it is up and ready (again); rejects after `timeoutMs`. */
  async whenReady(timeoutMs: number): Promise<void> {
    for (const deadline = Date.now() + timeoutMs; Date.now() < deadline; await sleep(READY_POLL_MS)) {
      if (this.pid !== undefined && this.#isReady) return;
    }
    throw new Error(`${this.name} was not ready within ${timeoutMs / 1000} s`);
  }

  async #keepRunning(first: PromiseWithResolvers<void>): Promise<void> {
    let backoffMs = BACKOFF_FIRST_MS;
    let wasReady = false;
    for (let attempt = 1; this.#wanted; attempt++) {
      const startedAt = Date.now();
      const life = this.#spawn();
      const problem = await this.#becomeReady(life, !wasReady);
      if (problem === undefined) {
        wasReady = true;
        this.#isReady = true;
        first.resolve();
      } else if (this.#child) {
        this.#end(life.child);
      }
      const how = await life.exited;
      if (!this.#wanted) break;
      if (!wasReady && attempt >= START_ATTEMPTS) {
        first.reject(this.#lastWords(problem ?? how));
        return;
      }
      if (Date.now() - startedAt > STEADY_MS) backoffMs = BACKOFF_FIRST_MS;
      this.restarts++;
      this.#options.report(
        `${this.name} ${how}; starting it again in ${backoffMs / 1000} s (log: ${this.#options.log.path})`,
      );
      await this.#pause(backoffMs);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
    first.reject(new Error(`${this.name} was stopped while it started`));
  }

  /** Asks the process to end, and kills its group when it takes too long. */
  #end(child: ChildProcess): void {
    const { stopSignal, stopTimeoutMs } = this.#spec;
    const timer = setTimeout(() => {
      this.#options.report(`${this.name} did not stop within ${stopTimeoutMs / 1000} s: killed`);
      if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    }, stopTimeoutMs);
    child.once("exit", () => clearTimeout(timer));
    child.kill(stopSignal);
    // A process held by SIGSTOP hears of the signal only once it goes on.
    child.kill("SIGCONT");
  }

  #spawn(): Life {
    const { command, args, env, cwd, user, ipc } = this.#spec;
    this.#spec.beforeStart?.();
    const child = spawn(command, args, {
      env: env as NodeJS.ProcessEnv,
      cwd,
      ...user,
      // A group of its own: Ctrl-C in the terminal reaches the runner alone, which stops everything in order.
      detached: true,
      stdio: ["ignore", "pipe", "pipe", ...(ipc ? ["ipc" as const] : [])],
    });
    this.#child = child;
    if (child.pid !== undefined) this.#options.started(this.name, child.pid);
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        this.#options.log.line(line);
        this.#spec.onLine?.(line);
      });
    }
    const exited = new Promise<string>((resolve) => {
      const end = (how: string) => {
        this.#child = undefined;
        this.#isReady = false;
        if (child.pid !== undefined) {
          // What it started itself (an engine, for instance) goes with it.
          signalGroup(child.pid, "SIGKILL");
          this.#options.ended(child.pid);
        }
        resolve(how);
      };
      child.once("error", (error) => end(`could not be started: ${error.message}`));
      child.once("exit", (code, signal) => end(signal ? `was ended by ${signal}` : `ended with exit code ${code}`));
    });
    return { child, exited };
  }

  /** Undefined when ready, else what is wrong. After the first success it waits as long as the process lives. */
  async #becomeReady(life: Life, bounded: boolean): Promise<string | undefined> {
    const deadline = bounded ? Date.now() + this.#spec.readyTimeoutMs : Number.POSITIVE_INFINITY;
    let ended: string | undefined;
    let last = "";
    void life.exited.then((how) => {
      ended = `it ${how}`;
    });
    while (Date.now() < deadline) {
      try {
        if (await this.#spec.ready()) {
          await this.#spec.onReady?.();
          return ended;
        }
      } catch (error) {
        last = `: ${error instanceof Error ? error.message : String(error)}`;
      }
      if (ended !== undefined) return ended;
      if (!this.#wanted) return "it was stopped";
      await sleep(READY_POLL_MS);
    }
    return `it was not ready within ${this.#spec.readyTimeoutMs / 1000} s${last}`;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #lastWords(why: string): Error {
    const { path, tail } = this.#options.log;
    const said = tail().map((line) => `  ${(JSON.parse(line) as { msg?: string }).msg ?? line}`);
    return new Error(`${this.name} did not start: ${why} (log: ${path})\n${said.join("\n")}`.trimEnd());
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
