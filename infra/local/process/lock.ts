import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { readJson, writeWhole } from "../files.ts";
import { identify, isAlive, type ProcessId, signalGroup } from "./identity.ts";

const SWEEP_GRACE_MS = 5_000;
const POLL_MS = 50;

/** Another runner holds this home. */
export class HomeInUse extends Error {
  readonly pid: number;
  constructor(home: string, pid: number) {
    super(
      `Sallyport already runs on ${home} (process ${pid}). Stop that one (Ctrl-C), or start on another SALLYPORT_HOME.`,
    );
    this.pid = pid;
  }
}

/** Takes the lock file, or throws HomeInUse; a lock whose process is gone is taken over. Returns its release. */
export function takeLock(file: string, home: string): () => void {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, file);
        return () => rmSync(file, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = readJson<ProcessId>(file);
      if (holder && isAlive(holder)) throw new HomeInUse(home, holder.pid);
      removeStale(file, holder);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Of two that find the same stale lock, one moves it away; the other's rename fails or hits the new lock's content check. */
function removeStale(file: string, holder: ProcessId | undefined): void {
  const away = `${file}.stale.${process.pid}`;
  try {
    if (readFileSync(file, "utf8") === JSON.stringify(holder) || !holder) renameSync(file, away);
    rmSync(away, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

export interface ChildRecord extends ProcessId {
  readonly name: string;
}

/** The children of one home, on disk, so that a later start can end those that outlived a killed runner. */
export function createChildLedger(file: string) {
  const children = new Map<number, ChildRecord>();
  const save = () => writeWhole(file, `${JSON.stringify([...children.values()])}\n`);
  return {
    add(name: string, pid: number): void {
      const id = identify(pid);
      if (!id) return;
      children.set(pid, { name, ...id });
      save();
    },
    remove(pid: number): void {
      if (children.delete(pid)) save();
    },
  };
}

/** Ends what the last runner on this home left running. Returns the names of those it had to end. */
export async function sweepStaleChildren(file: string): Promise<string[]> {
  const alive = (readJson<ChildRecord[]>(file) ?? []).filter(isAlive);
  for (const { pid } of alive) signalGroup(pid, "SIGTERM");
  const deadline = Date.now() + SWEEP_GRACE_MS;
  while (alive.some(isAlive) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  for (const child of alive) if (isAlive(child)) signalGroup(child.pid, "SIGKILL");
  while (alive.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  rmSync(file, { force: true });
  return alive.map(({ name }) => name);
}
