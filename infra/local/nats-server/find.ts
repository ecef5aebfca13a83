import { chmodSync, copyFileSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fromDebian } from "./debian.ts";
import { fromGo } from "./go.ts";
import { fromRelease } from "./release.ts";
import { capture, NATS_MIN_VERSION, NATS_VERSION, natsVersion, newerOrEqual, reason } from "./version.ts";

const SCRATCH_PREFIX = "fetch-";
const ABANDONED_AFTER_MS = 3_600_000;

export interface NatsServer {
  readonly path: string;
  readonly version: string;
  /** The source that it came from, for the log. */
  readonly source: string;
}

export interface SourceContext {
  readonly env: NodeJS.ProcessEnv;
  /** A folder of this attempt's own, gone afterwards. */
  readonly scratch: string;
  readonly log: (line: string) => void;
}

/** Resolves with the path of a binary that it brought to `scratch`, or throws an Error that says why not. */
export type Source = { readonly name: string; readonly bring: (context: SourceContext) => Promise<string> };

export const downloads: readonly Source[] = [
  { name: "official release", bring: fromRelease },
  { name: "go install", bring: fromGo },
  { name: "Debian package", bring: fromDebian },
];

export interface FindOptions {
  readonly cacheDir: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly log: (line: string) => void;
  readonly sources?: readonly Source[];
}

/**
 * A nats-server of at least NATS_MIN_VERSION: SALLYPORT_NATS_SERVER, the PATH, the cache, then whatever download works,
 * which is kept in the cache. Says in one line a source what was tried. Throws an Error that says what to do.
 */
export async function findNatsServer({
  cacheDir,
  env = process.env,
  log,
  sources = downloads,
}: FindOptions): Promise<NatsServer> {
  const cached = join(cacheDir, "nats-server");
  const say = (line: string) => log(`nats-server: ${line}`);
  for (const [source, path] of present(env, cached)) {
    try {
      return await accept(source, path);
    } catch (error) {
      say(`${source}: ${reason(error)}`);
    }
  }
  removeAbandoned(cacheDir);
  for (const { name, bring } of sources) {
    const scratch = mkdtempSync(join(cacheDir, SCRATCH_PREFIX));
    try {
      const brought = await bring({ env, scratch, log: say });
      const { version } = await accept(name, brought);
      keep(brought, cached);
      say(`${name}: got ${version}, kept in ${cached}`);
      return { path: cached, version, source: name };
    } catch (error) {
      say(`${name}: ${reason(error)}`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  throw new Error(
    `no nats-server ${NATS_MIN_VERSION} or newer could be found or fetched (see the lines above). Install ${NATS_VERSION} from ` +
      "https://github.com/nats-io/nats-server/releases (or `brew install nats-server`, or Go from https://go.dev/dl, with which " +
      "it is built here), or set SALLYPORT_NATS_SERVER to its path.",
  );
}

/** What a killed attempt left; a younger one may still be at work. */
function removeAbandoned(cacheDir: string): void {
  for (const name of readdirSync(cacheDir).filter((entry) => entry.startsWith(SCRATCH_PREFIX))) {
    const path = join(cacheDir, name);
    if (Date.now() - statSync(path).mtimeMs > ABANDONED_AFTER_MS) rmSync(path, { recursive: true, force: true });
  }
}

function* present(env: NodeJS.ProcessEnv, cached: string): Generator<[string, string]> {
  if (env.SALLYPORT_NATS_SERVER) yield ["SALLYPORT_NATS_SERVER", env.SALLYPORT_NATS_SERVER];
  for (const dir of (env.PATH ?? "").split(":")) {
    const path = join(dir, "nats-server");
    if (dir && existsSync(path)) yield ["PATH", path];
  }
  if (existsSync(cached)) yield ["cache", cached];
}

async function accept(source: string, path: string): Promise<NatsServer> {
  const version = natsVersion(await capture(path, ["--version"], { timeoutMs: 10_000 }));
  if (!newerOrEqual(version, NATS_MIN_VERSION))
    throw new Error(`${path} is ${version}, ${NATS_MIN_VERSION} or newer is needed`);
  return { path, version, source };
}

function keep(from: string, to: string): void {
  const draft = `${to}.${process.pid}`;
  copyFileSync(from, draft);
  chmodSync(draft, 0o755);
  renameSync(draft, to);
}
