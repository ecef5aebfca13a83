/** Verification by tools that this project did not write, for tests: see testdata/go-verify. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const source = join(import.meta.dirname, "../testdata/go-verify");
const downloadTimeoutMs = 60_000;

export interface GoVerifier extends Disposable {
  /** `verify`: checks the log in `dir`. `make`: writes one there. */
  run(command: "verify" | "make", dir: string): { status: number | null; stdout: string };
}

/**
 * Builds the program. Returns why it cannot be had where there is no Go, or its modules cannot be fetched; a build that
 * fails throws.
 */
export function buildGoVerifier(): GoVerifier | string {
  if (spawnSync("go", ["version"]).error !== undefined) return "there is no go on the PATH";
  const download = spawnSync("go", ["mod", "download"], { cwd: source, timeout: downloadTimeoutMs });
  if (download.status !== 0) return "go cannot fetch the modules that the verifier needs";
  const work = mkdtempSync(join(tmpdir(), "tlog-go-"));
  const program = join(work, "go-verify");
  execFileSync("go", ["build", "-o", program, "."], { cwd: source });
  return {
    run(command, dir) {
      const { status, stdout } = spawnSync(program, [command, dir], { encoding: "utf8" });
      return { status, stdout };
    },
    [Symbol.dispose]: () => rmSync(work, { recursive: true }),
  };
}
