import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { identify } from "./identity.ts";
import { createChildLedger, sweepStaleChildren } from "./lock.ts";
import { type LogFile, openLogFile } from "./log-file.ts";
import { type ProcessSpec, Supervised } from "./supervised.ts";

const WATCHDOG = fileURLToPath(new URL("./watchdog.ts", import.meta.url));

export interface SupervisorOptions {
  readonly logsDir: string;
  /** Where the children are recorded, to be ended by a later start if need be. */
  readonly childrenFile: string;
  readonly report: (line: string) => void;
}

/**
 * Keeps the children of one home: logs, restarts, an end in reverse order of their start, and no orphans: a watchdog
 * ends them when this process is killed, a later start ends what even that missed.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #children: Supervised[] = [];
  readonly #logs: LogFile[] = [];
  readonly #ledger: ReturnType<typeof createChildLedger>;
  readonly #watchdog: ChildProcess;
  #closed = false;

  private constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#ledger = createChildLedger(options.childrenFile);
    this.#watchdog = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", WATCHDOG], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: process.env.PATH },
    });
    this.#watchdog.stdin?.on("error", () =>
      options.report("the watchdog ended: a killed runner would leave its children"),
    );
    this.#watchdog.unref();
    (this.#watchdog.stdin as Socket | null)?.unref();
  }

  static async open(options: SupervisorOptions): Promise<Supervisor> {
    const ended = await sweepStaleChildren(options.childrenFile);
    if (ended.length > 0) options.report(`ended what an earlier run had left: ${ended.join(", ")}`);
    return new Supervisor(options);
  }

  /** Throws once it was stopped: nothing starts after that. */
  add(spec: ProcessSpec): Supervised {
    if (this.#closed) throw new Error("the platform is stopping");
    const log = openLogFile(join(this.#options.logsDir, `${spec.name}.jsonl`), spec.name);
    const child = new Supervised(spec, {
      log,
      report: this.#options.report,
      mayStart: () => !this.#closed,
      started: (name, pid) => {
        this.#ledger.add(name, pid);
        this.#watchdog.stdin?.write(`+${pid} ${identify(pid)?.started ?? ""}\n`);
      },
      ended: (pid) => {
        this.#ledger.remove(pid);
        this.#watchdog.stdin?.write(`-${pid}\n`);
      },
    });
    this.#logs.push(log);
    this.#children.push(child);
    return child;
  }

  /** Stops the groups one after the other, each group's members together; what is in no group goes first. */
  async stop(groups: readonly (readonly Supervised[])[] = []): Promise<void> {
    this.#closed = true;
    const grouped = new Set(groups.flat());
    for (const group of [this.#children.filter((child) => !grouped.has(child)), ...groups]) {
      await Promise.all(group.map((child) => child.stop()));
    }
    this.#watchdog.stdin?.end(".\n");
    for (const log of this.#logs) log.close();
  }
}
