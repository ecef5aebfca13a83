import { join } from "node:path";
import type { SourceContext } from "./find.ts";
import { capture, NATS_VERSION } from "./version.ts";

const BUILD_TIMEOUT_MS = 15 * 60_000;
const BEAT_MS = 15_000;

/** Hash of the module's source as in go.sum and the Go checksum database. */
export const GO_MODULE_SUM = "h1:fK3AeYFIji1Smng60jB0hVoAPZezA/UzsaI3BqXFNEI=";

/** Builds the pinned version from the module proxy; modules, build cache and binary all lie in `scratch`. */
export async function fromGo({ env, scratch, log }: SourceContext): Promise<string> {
  const go = await capture("go", ["version"], { timeoutMs: 10_000, env });
  log(`go install: building v${NATS_VERSION} with ${go.split(" ")[2]} (a minute or two)`);
  const started = Date.now();
  const beat = setInterval(
    () => log(`go install: still building (${Math.round((Date.now() - started) / 1000)} s)`),
    BEAT_MS,
  );
  const bin = join(scratch, "bin");
  const buildEnv = {
    ...env,
    GOBIN: bin,
    GOMODCACHE: join(scratch, "mod"),
    GOCACHE: join(scratch, "cache"),
    GOTMPDIR: scratch,
    GOFLAGS: "-mod=mod -modcacherw -trimpath",
    CGO_ENABLED: "0",
  };
  try {
    await capture("go", ["install", `github.com/nats-io/nats-server/v2@v${NATS_VERSION}`], {
      timeoutMs: BUILD_TIMEOUT_MS,
      env: buildEnv,
      cwd: scratch,
    });
    const path = join(bin, "nats-server");
    const built = await capture("go", ["version", "-m", path], { timeoutMs: 10_000, env: buildEnv });
    assertSource(built);
    return path;
  } finally {
    clearInterval(beat);
  }
}

/** Throws unless the build information names the pinned module with the pinned hash. */
export function assertSource(buildInfo: string): void {
  const [, path, version, sum] = /^\tmod\t(\S+)\t(\S+)\t(\S+)/m.exec(buildInfo) ?? [];
  const right = path === "github.com/nats-io/nats-server/v2" && version === `v${NATS_VERSION}` && sum === GO_MODULE_SUM;
  if (!right)
    throw new Error(`built from ${path}@${version} ${sum}, pinned is v${NATS_VERSION} ${GO_MODULE_SUM}: refused`);
}
