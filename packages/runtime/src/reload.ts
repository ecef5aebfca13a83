/** What lies in files and may be replaced while the service runs: certificates, keys, the trust bundle. */
import { statSync } from "node:fs";
import type { Logger } from "./logger.ts";
import { gauge } from "./telemetry/metrics.ts";

const loadedAt = gauge(
  "sallyport_files_loaded_timestamp_seconds",
  "When the newest of the files in use was written: tells whoever rotates them that they were taken.",
  ["what"],
);

/** Polled: this also sees a mounted secret, whose file is swapped by a link to another folder. */
const lookEveryMs = 1_000;

export interface Reloaded<T> extends Disposable {
  readonly current: T;
  /** Called with each new value. Returns the function that ends it. */
  onChange(listener: (value: T) => void): () => void;
}

/** Names in the metric what was loaded. */
export type Material =
  | "tls"
  | "callers-ca"
  | "database-ca"
  | "trust"
  | "signing-key"
  | "encryption-key"
  | "bus"
  | "vault";

/**
 * Loads now (what `load` throws passes through) and again whenever one of the files changes. Files that belong together
 * are not written in one moment: a set that does not load is tried again, and meanwhile the former value stays.
 */
export function reloadFiles<T>(
  what: Material,
  files: readonly string[],
  load: (previous: T | undefined) => T,
  log: Pick<Logger, "info" | "error">,
): Reloaded<T> {
  // Looked at before it is read: what changes meanwhile is seen at the next look.
  let loaded = stateOf(files);
  let current = load(undefined);
  loadedAt.set({ what }, newest(files));
  let refused = "";
  const listeners = new Set<(value: T) => void>();
  const look = () => {
    const found = stateOf(files);
    if (found === loaded) return;
    try {
      current = load(current);
    } catch (err) {
      if (refused !== found) log.error({ err, files }, "changed files cannot be used; what was loaded before stays");
      refused = found;
      return;
    }
    loaded = found;
    loadedAt.set({ what }, newest(files));
    log.info({ files }, "loaded again");
    for (const listener of listeners) listener(current);
  };
  const timer = setInterval(look, lookEveryMs).unref();
  return {
    get current() {
      return current;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function newest(files: readonly string[]): number {
  return Math.max(...files.map((file) => (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) / 1_000));
}

/** Which files these are and when they were last written; a missing one counts too. */
function stateOf(files: readonly string[]): string {
  const states = files.map((file) => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
    return stat ? `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}` : "none";
  });
  return states.join("\n");
}
