import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../src/engine/bundle.ts";
import { readBundleFiles } from "../src/engine/load.ts";
import { entrypoints, isSource, manifestFormat, type PolicyManifest } from "../src/engine/manifest.ts";
import { opaVersion } from "./opa.ts";

/** Compiles a bundle's Rego; data is not compiled in, so editing it needs no compiler. */
export function compileBundle(opa: string, dir: string): { wasm: Uint8Array; manifest: PolicyManifest } {
  const scratch = mkdtempSync(join(tmpdir(), "sallyport-policy-"));
  try {
    const sources = [...readBundleFiles(dir)].filter(([path]) => isSource(path)).sort(([a], [b]) => (a < b ? -1 : 1));
    const archive = join(scratch, "bundle.tar.gz");
    const flags = entrypoints.flatMap((entrypoint) => ["-e", entrypoint]);
    // Relative paths: the compiler writes source locations into the result.
    execFileSync(opa, ["build", "-t", "wasm", ...flags, "-o", archive, ...sources.map(([path]) => path)], { cwd: dir });
    execFileSync("tar", ["-xzf", archive, "-C", scratch, "/policy.wasm"], { stdio: ["ignore", "ignore", "ignore"] });
    const wasm = readFileSync(join(scratch, "policy.wasm"));
    const digests = Object.fromEntries(sources.map(([path, bytes]) => [path, sha256(bytes)]));
    const manifest: PolicyManifest = {
      format: manifestFormat,
      opa: opaVersion,
      entrypoints: [...entrypoints],
      sources: digests,
      wasm: sha256(wasm),
    };
    return { wasm, manifest };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs the bundle's *_test.rego; throws with opa's report when one fails. */
export function testBundle(opa: string, dir: string): string {
  return execFileSync(opa, ["test", "rego", "data.json"], { cwd: dir, encoding: "utf8" });
}
