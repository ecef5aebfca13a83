/** Who listens on which TCP port, as Linux tells it in /proc (proc(5)). */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const listening = "0A";

/** Port → process id; 0 when the process is not ours to look at. Undefined where there is no /proc/net. */
export function listeners(): Map<number, number> | undefined {
  const inodes = new Map<string, number>();
  try {
    for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
      for (const line of readFileSync(file, "utf8").trim().split("\n").slice(1)) {
        const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
        if (state === listening) inodes.set(`socket:[${inode}]`, Number.parseInt(local!.split(":")[1]!, 16));
      }
    }
  } catch {
    return undefined;
  }
  const found = new Map([...inodes.values()].map((port) => [port, 0]));
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const target of socketsOf(pid)) {
      const port = inodes.get(target);
      if (port !== undefined) found.set(port, Number(pid));
    }
  }
  return found;
}

export function processName(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "a process";
  }
}

function socketsOf(pid: string): string[] {
  const dir = `/proc/${pid}/fd`;
  try {
    return readdirSync(dir).flatMap((fd) => {
      try {
        return [readlinkSync(`${dir}/${fd}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}
