/** What a rotation needs of a running platform: that every service uses the new files before the former are given up. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { ServiceName } from "@sallyport/proto/subjects";
import type { Endpoints } from "../endpoints.ts";
import { readJson } from "../files.ts";
import type { Home } from "../home.ts";
import { isAlive } from "../process/identity.ts";
import type { ChildRecord } from "../process/lock.ts";
import { waitReady } from "../readiness.ts";

const TAKEN_WITHIN_MS = 30_000;
const POLL_MS = 250;
const PROBE_TIMEOUT_MS = 2_000;
/** File times are kept in whole milliseconds or finer. */
const TOLERANCE_S = 0.001;

/** As the services' metric `sallyport_files_loaded_timestamp_seconds` names what they load. */
export type Material = "tls" | "trust" | "signing-key" | "encryption-key" | "bus" | "vault";

export class Running {
  readonly endpoints: Endpoints;
  readonly #children: readonly ChildRecord[];

  private constructor(endpoints: Endpoints, children: readonly ChildRecord[]) {
    this.endpoints = endpoints;
    this.#children = children;
  }

  /** Undefined when nothing runs on this home: then whoever starts next loads what is there. */
  static of(home: Home): Running | undefined {
    const runner = readJson<ChildRecord>(join(home.runDir, "lock"));
    const endpoints = readJson<Endpoints>(home.endpointsFile);
    if (!runner || !isAlive(runner) || !endpoints) return undefined;
    return new Running(endpoints, readJson<ChildRecord[]>(join(home.runDir, "children.json")) ?? []);
  }

  get services(): ServiceName[] {
    const names = Object.keys(this.endpoints.health) as ServiceName[];
    return names.filter((name) => this.#children.some((child) => child.name === name && isAlive(child)));
  }

  /** Tells a server of ours to read its files again. */
  reload(name: "nats" | "postgres"): void {
    for (const child of this.#children) if (child.name === name && isAlive(child)) process.kill(child.pid, "SIGHUP");
  }

  /** Waits until these services say that they use the newest of these files. Rejects naming those that do not. */
  async untilLoaded(what: Material, files: Partial<Record<ServiceName, readonly string[]>>): Promise<void> {
    const deadline = Date.now() + TAKEN_WITHIN_MS;
    const late = await Promise.all(
      this.services.map(async (service) => {
        const written = Math.max(...(files[service] ?? []).map((file) => statSync(file).mtimeMs / 1_000));
        if (written === Number.NEGATIVE_INFINITY) return undefined;
        while (Date.now() < deadline) {
          if ((await this.#loadedAt(service, what)) >= written - TOLERANCE_S) return undefined;
          await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        }
        return service;
      }),
    );
    const left = late.filter((service) => service !== undefined);
    if (left.length > 0) throw new Error(`${left.join(", ")} did not take the new ${what} within 30 s: see their logs`);
  }

  async untilReady(service: ServiceName): Promise<void> {
    await waitReady({ [service]: this.endpoints.health[service]! }, TAKEN_WITHIN_MS);
  }

  async #loadedAt(service: ServiceName, what: Material): Promise<number> {
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
      const text = await (await fetch(`${this.endpoints.health[service]}/metrics`, { signal })).text();
      const pattern = new RegExp(`^sallyport_files_loaded_timestamp_seconds\\{[^}]*what="${what}"[^}]*\\} (\\S+)`, "m");
      return Number(pattern.exec(text)?.[1] ?? 0);
    } catch {
      return 0;
    }
  }
}
