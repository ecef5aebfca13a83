/** SIGSTOP returns before the process has stopped: on a busy machine it may still answer once. */
import { readdirSync, readFileSync } from "node:fs";
import { waitFor } from "./wait-for.ts";

/** Sends SIGSTOP; resolves once each of its threads stands still, or it is gone. Where there is no /proc it cannot be seen. */
export async function standStill(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  await waitFor(`process ${pid} to stand still`, () => statesOf(pid).every((state) => "TtZX".includes(state)), {
    everyMs: 2,
  });
}

/** One letter a thread (proc_pid_stat(5)). */
function statesOf(pid: number): string[] {
  try {
    const folder = `/proc/${pid}/task`;
    const lines = readdirSync(folder).map((thread) => readFileSync(`${folder}/${thread}/stat`, "utf8"));
    return lines.map((line) => line.slice(line.lastIndexOf(")") + 2)[0]!);
  } catch {
    return [];
  }
}
