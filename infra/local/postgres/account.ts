import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";

/** Postgres refuses to run as root: this is whom it runs as then. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const NAME = "postgres";
const SYSTEM_DIR = "/var/lib/sallyport";

/** Undefined when not root. As root: the system's `postgres` user, made when there is none. */
export function postgresAccount(report: (line: string) => void): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const found = lookUp(NAME);
  if (found) return found;
  report(`Postgres does not run as root: adding the system user ${NAME} for it`);
  execFileSync("useradd", ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME], {
    stdio: "ignore",
  });
  const made = lookUp(NAME);
  if (!made) throw new Error(`the system user ${NAME} could not be added; add it, or start as another user than root`);
  return made;
}

function lookUp(name: string): Account | undefined {
  try {
    const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: "pipe" }));
    return { uid: id("-u"), gid: id("-g") };
  } catch {
    return undefined;
  }
}

/** Whether the account may walk down to `path`: every folder above must let others (or it) pass. */
export function canReach(path: string, { uid, gid }: Account): boolean {
  for (let dir = path; ; dir = dirname(dir)) {
    if (existsSync(dir)) {
      const stat = statSync(dir);
      const bit = stat.uid === uid ? 0o100 : stat.gid === gid ? 0o010 : 0o001;
      if ((stat.mode & bit) === 0) return false;
    }
    if (dir === dirname(dir)) return true;
  }
}

/**
 * Where the account keeps the cluster of `dir`: there, or, where it cannot walk to (below /root), in the system's place
 * for such data with a link from `dir`.
 */
export function reachableDir(dir: string, account: Account, report: (line: string) => void): string {
  if (canReach(dirname(dir), account)) return dir;
  const id = createHash("sha256").update(dir).digest("hex").slice(0, 12);
  const away = join(SYSTEM_DIR, id);
  mkdirSync(away, { recursive: true, mode: 0o755 });
  if (!lstatSync(dir, { throwIfNoEntry: false })) {
    symlinkSync(away, dir);
    report(`user ${NAME} cannot reach ${dirname(dir)}: Postgres keeps its data in ${away}`);
  }
  return away;
}

export const systemDir = SYSTEM_DIR;
