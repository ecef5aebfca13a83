import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdirSync, rmSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The release that compiles the committed policies: the same sources give the same bytes. */
export const opaVersion = "1.22.2";
const opaModule = "github.com/open-policy-agent/opa";
const repository = fileURLToPath(new URL("../../..", import.meta.url));

/** Where the found binary came from, for the progress line. */
export interface OpaBinary {
  path: string;
  source: string;
}

/**
 * Finds opa of the pinned version: SALLYPORT_OPA, the PATH, the cache in SALLYPORT_HOME (default .sallyport), or
 * `go install` into that cache where Go is present. Returns undefined, having told `log` what was tried.
 */
export function findOpa(log: (line: string) => void, mayInstall: boolean): OpaBinary | undefined {
  const cache = join(resolve(process.env.SALLYPORT_HOME ?? join(repository, ".sallyport")), "bin");
  const given = process.env.SALLYPORT_OPA;
  const candidates: OpaBinary[] = [
    ...(given ? [{ path: given, source: "SALLYPORT_OPA" }] : []),
    ...onPath("opa").map((path) => ({ path, source: "PATH" })),
    { path: join(cache, "opa"), source: "cache" },
  ];
  for (const candidate of candidates) {
    const version = versionOf(candidate.path);
    if (version === opaVersion) return candidate;
    log(
      `opa: ${candidate.source} (${candidate.path}): ${version === undefined ? "not found" : `version ${version}, not ${opaVersion}`}`,
    );
  }
  return mayInstall ? install(cache, log) : undefined;
}

function install(cache: string, log: (line: string) => void): OpaBinary | undefined {
  if (onPath("go").length === 0) {
    log("opa: go install: Go is not on the PATH");
    return undefined;
  }
  log(`opa: go install ${opaModule}@v${opaVersion} (a few minutes)`);
  // Everything that Go downloads and builds stays beside the cache, and goes once the binary is there.
  const scratch = join(cache, "..", "go-build");
  mkdirSync(cache, { recursive: true });
  try {
    execFileSync("go", ["install", `${opaModule}@v${opaVersion}`], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        ...process.env,
        ...{
          GOBIN: cache,
          GOPATH: join(scratch, "path"),
          GOCACHE: join(scratch, "cache"),
          GOMODCACHE: join(scratch, "mod"),
        },
        ...{ GOFLAGS: "-modcacherw -trimpath", CGO_ENABLED: "0" },
      },
    });
  } catch {
    log("opa: go install failed");
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const path = join(cache, "opa");
  return versionOf(path) === opaVersion ? { path, source: "go install" } : undefined;
}

function onPath(name: string): string[] {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .filter((dir) => dir !== "")
    .map((dir) => join(dir, name))
    .filter(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function versionOf(path: string): string | undefined {
  if (!isExecutable(path)) return undefined;
  try {
    return /^Version: (\S+)/m.exec(execFileSync(path, ["version"], { encoding: "utf8", timeout: 20_000 }))?.[1];
  } catch {
    return undefined;
  }
}
