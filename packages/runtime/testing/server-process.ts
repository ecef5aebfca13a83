import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { standStill } from "./stand-still.ts";
import { waitFor } from "./wait-for.ts";

export interface ServerCommand {
  command: string;
  args: readonly string[];
  user?: { uid: number; gid: number };
  env?: Readonly<Record<string, string>>;
  /** Resolves with true once the server serves. */
  ready: () => Promise<boolean>;
}

/** Long: test runs share small machines. */
const readyWithinMs = 40_000;

/** A real server as a child process that tests may kill and start again. */
export class ServerProcess implements AsyncDisposable {
  readonly #spec: ServerCommand;
  #child: ChildProcess | undefined;
  #output = "";

  constructor(spec: ServerCommand) {
    this.#spec = spec;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Throws with the server's last words when it does not come up. */
  async start(): Promise<void> {
    const { command, args, user, ready } = this.#spec;
    const env = { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC", ...this.#spec.env };
    this.#output = "";
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env, cwd: "/", ...user });
    this.#child = child;
    // A test run that ends early leaves nothing behind.
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    child.once("exit", () => process.off("exit", end));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        this.#output = (this.#output + chunk).slice(-4_000);
      });
    }
    child.on("error", (error) => {
      this.#output += String(error);
    });
    try {
      await waitFor(
        `${command} to serve`,
        async () => {
          if (!this.running) throw new Error(`it ended: ${this.#output}`);
          return await ready();
        },
        { timeoutMs: readyWithinMs },
      );
    } catch (cause) {
      await this.signal("SIGKILL");
      throw new Error(`${command} did not start:\n${this.#output}`, { cause });
    }
  }

  /** Sends the signal and waits for the end, with SIGSTOP until it stands still. SIGCONT returns at once. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || !this.running) return;
    if (signal === "SIGSTOP") return await standStill(child.pid!);
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    if (signal !== "SIGCONT") await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.signal("SIGKILL");
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
