/** Prometheus and promtool, for the tests of rules and dashboards; the platform itself needs neither. */
import { chmodSync, copyFileSync, existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { unpackDebian } from "../nats-server/debian.ts";
import { capture, reason } from "../nats-server/version.ts";

export interface Prometheus {
  readonly prometheus: string;
  readonly promtool: string;
  readonly version: string;
}

export interface FindOptions {
  readonly cacheDir: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly log: (line: string) => void;
}

const programs = ["prometheus", "promtool"] as const;
/** Prometheus is built without any library but libc: the release before last runs on whatever Debian this is. */
const suite = "bookworm";

/** From the PATH, the cache, or Debian's package, which is kept in the cache. Undefined where none can be had; `log` says why. */
export async function findPrometheus({
  cacheDir,
  env = process.env,
  log,
}: FindOptions): Promise<Prometheus | undefined> {
  const say = (line: string) => log(`prometheus: ${line}`);
  for (const dir of [...(env.PATH ?? "").split(":"), cacheDir]) {
    if (dir === "" || !programs.every((program) => existsSync(join(dir, program)))) continue;
    try {
      return await accept(dir);
    } catch (error) {
      say(`${dir}: ${reason(error)}`);
    }
  }
  const scratch = mkdtempSync(join(cacheDir, "fetch-prometheus-"));
  try {
    const brought = dirname(await unpackDebian("prometheus", { env, scratch, log: say, suite }));
    const { version } = await accept(brought);
    for (const program of programs) keep(join(brought, program), join(cacheDir, program));
    say(`Debian package: got ${version}, kept in ${cacheDir}`);
    return await accept(cacheDir);
  } catch (error) {
    say(`Debian package: ${reason(error)}`);
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function accept(dir: string): Promise<Prometheus> {
  const [prometheus, promtool] = programs.map((program) => join(dir, program)) as [string, string];
  const [told] = await Promise.all(
    [prometheus, promtool].map((path) => capture(path, ["--version"], { timeoutMs: 20_000 })),
  );
  const version = /version (\d+\.\d+\.\d+)/.exec(told ?? "")?.[1];
  if (version === undefined) throw new Error("it does not tell a version");
  return { prometheus, promtool, version };
}

function keep(from: string, to: string): void {
  const draft = `${to}.${process.pid}`;
  copyFileSync(from, draft);
  chmodSync(draft, 0o755);
  renameSync(draft, to);
}
