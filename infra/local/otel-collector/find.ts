/** A real OpenTelemetry collector, for the test of `infra/otel/collector.yml`; the platform itself needs none. */
import { existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../home.ts";
import { capture, reason } from "../nats-server/version.ts";
import type { FindOptions } from "../prometheus/find.ts";

export const collectorConfig = join(REPOSITORY, "infra/otel/collector.yml");
const source = join(REPOSITORY, "infra/otel/collector");
const buildTimeoutMs = 10 * 60_000;

/**
 * The path of one that takes our configuration: from the PATH, the cache, or built with Go from pinned modules and kept in
 * the cache. Undefined where none can be had; `log` says why.
 */
export async function findOtelCollector({
  cacheDir,
  env = process.env,
  log,
}: FindOptions): Promise<string | undefined> {
  const say = (line: string) => log(`otel collector: ${line}`);
  const cached = join(cacheDir, "otelcol");
  const named = (env.PATH ?? "").split(":").flatMap((dir) => [join(dir, "otelcol-contrib"), join(dir, "otelcol")]);
  for (const path of [...named, cached].filter((file) => existsSync(file))) {
    try {
      return await accept(path);
    } catch (error) {
      say(`${path}: ${reason(error)}`);
    }
  }
  const scratch = mkdtempSync(join(cacheDir, "build-otelcol-"));
  try {
    const built = join(scratch, "otelcol");
    const started = Date.now();
    say("building one with Go (a minute or two the first time)");
    // Go's own caches: another checkout's build takes seconds.
    const flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"];
    await capture("go", ["build", ...flags, "-o", built, "."], {
      timeoutMs: buildTimeoutMs,
      env: { ...env, CGO_ENABLED: "0" },
      cwd: source,
    });
    await accept(built);
    renameSync(built, cached);
    say(`built in ${Math.round((Date.now() - started) / 1_000)} s, kept in ${cacheDir}`);
    return cached;
  } catch (error) {
    say(`go build: ${reason(error)}`);
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Throws when it does not take our configuration: an older one does not know every name in it. */
async function accept(path: string): Promise<string> {
  await capture(path, ["validate", "--config", collectorConfig], { timeoutMs: 20_000 });
  return path;
}
