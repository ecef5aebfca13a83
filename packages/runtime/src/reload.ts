/** What lies in files and may be replaced while the service runs: certificates, keys, the trust bundle. */
import { statSync } from "node:fs";
import type { Logger } from "./logger.ts";

/** Polled: this also sees a mounted secret, whose file is swapped by a link to another folder. */
const lookEveryMs = 1_000;

export interface Reloaded<T> extends Disposable {
  readonly current: T;
  /** Called with each new value. Returns the function that ends it. */
  onChange(listener: (value: T) => void): () => void;
}

/**
 * Loads now (what `load` throws passes through) and again whenever one of the files changes. Files that belong together
 * are not written in one moment: a set that does not load is tried again, and meanwhile the former value stays.
 */
export function reloadFiles<T>(
  files: readonly string[],
  load: (previous: T | undefined) => T,
  log: Pick<Logger, "info" | "error">,
): Reloaded<T> {
  // Looked at before it is read: what changes meanwhile is seen at the next look.
  let loaded = stateOf(files);
  let current = load(undefined);
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

/** Which files these are and when they were last written; a missing one counts too. */
function stateOf(files: readonly string[]): string {
  const states = files.map((file) => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
    return stat ? `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}` : "none";
  });
  return states.join("\n");
}
