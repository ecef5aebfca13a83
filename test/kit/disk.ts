/**
 * A small disk of its own for one part's data: an ext4 file system in a file, so that it can be full (ENOSPC), and stand
 * still (fsfreeze: writes and fsync block in the kernel, as on a device that hangs). Needs root on Linux.
 */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, rmSync, statfsSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface Disk extends Disposable {
  readonly dir: string;
  /** Writes and fsync block until the result is called, and for 20 s at most. */
  stall(): () => void;
  /** Stands still most of the time: about a quarter of its speed, with pauses of `pauseMs`. */
  brake(pauseMs: number): () => void;
  /** Nothing more fits on it until the result is called. */
  fill(): () => void;
  /** Bytes that still fit. */
  readonly free: number;
}

const mebibyte = 1024 * 1024;
/** A file system that was frozen and forgotten would take its processes with it: this thaws it, come what may. */
const longestStallS = 20;

/** Why there can be no such disk here, or undefined. */
export function noDiskBecause(): string | undefined {
  if (process.platform !== "linux") return "file systems are mounted on Linux alone";
  if (process.getuid?.() !== 0) return "mounting a file system needs root";
  const missing = ["mkfs.ext4", "fsfreeze", "mount"].filter((tool) => !hasTool(tool));
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  return existsSync("/dev/loop-control") ? undefined : "this kernel has no loop devices";
}

function hasTool(name: string): boolean {
  return ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].some((dir) => existsSync(join(dir, name)));
}

/** Mounts it on `dir`, which is made. `image`: the file that it lies in. Throws when the machine refuses. */
export function mountDisk(dir: string, image: string, megabytes: number): Disk {
  mkdirSync(dir, { recursive: true });
  closeSync(openSync(image, "w"));
  truncateSync(image, megabytes * mebibyte);
  const tool = (name: string, ...args: string[]) => execFileSync(name, args, { stdio: "pipe" });
  // No blocks kept for root: full is full for everybody.
  tool("mkfs.ext4", "-q", "-F", "-m", "0", image);
  tool("mount", "-o", "loop", image, dir);
  const freeze = () => tool("fsfreeze", "--freeze", dir);
  const thaw = () => {
    try {
      tool("fsfreeze", "--unfreeze", dir);
    } catch {
      // It was not frozen, or the guard was first.
    }
  };
  const leave = () => {
    thaw();
    execFileSync("umount", ["--lazy", dir], { stdio: "ignore" });
  };
  process.once("exit", leave);
  const ballast = join(dir, "ballast");
  return {
    dir,
    get free() {
      const { bavail, bsize } = statfsSync(dir);
      return bavail * bsize;
    },
    stall() {
      freeze();
      const guard = spawn("sh", ["-c", `sleep ${longestStallS}; fsfreeze --unfreeze "$0"`, dir], {
        detached: true,
        stdio: "ignore",
      });
      guard.unref();
      return () => {
        if (guard.pid !== undefined) endGroup(guard.pid);
        thaw();
      };
    },
    brake(pauseMs) {
      let frozen = false;
      const turn = () => {
        if (frozen) thaw();
        else freeze();
        frozen = !frozen;
        timer = setTimeout(turn, frozen ? pauseMs : pauseMs / 3);
      };
      let timer = setTimeout(turn, 0);
      return () => {
        clearTimeout(timer);
        thaw();
      };
    },
    fill() {
      fillUp(ballast);
      return () => rmSync(ballast, { force: true });
    },
    [Symbol.dispose]() {
      process.off("exit", leave);
      leave();
    },
  };
}

/** Real blocks, to the last one. */
function fillUp(file: string): void {
  const piece = Buffer.alloc(mebibyte);
  const out = openSync(file, "w");
  try {
    for (let size = piece.length; size >= 1024; ) {
      try {
        if (writeSync(out, piece, 0, size) < size) size = Math.floor(size / 2);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(out);
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
