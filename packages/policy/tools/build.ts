/** npm run policy:build [-- folder]: checks formatting and tests, compiles, writes dist/. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { defaultBundleDir, loadBundle, runBundleTests } from "../src/index.ts";
import { compileBundle, testBundle } from "./compile.ts";
import { findOpa } from "./opa.ts";

const log = (line: string): void => console.error(line);
const dir = resolve(process.argv[2] ?? defaultBundleDir);
const opa = findOpa(log, true);
if (opa === undefined) {
  log("opa was not found. Install it (https://www.openpolicyagent.org/docs/#running-opa) or Go, or set SALLYPORT_OPA.");
  process.exit(1);
}
log(`opa: ${opa.source} (${opa.path})`);
execFileSync(opa.path, ["check", "--strict", "rego"], { cwd: dir, stdio: "inherit" });
log(testBundle(opa.path, dir).trim());
const { wasm, manifest } = compileBundle(opa.path, dir);
mkdirSync(join(dir, "dist"), { recursive: true });
writeFileSync(join(dir, "dist/policy.wasm"), wasm);
writeFileSync(join(dir, "dist/manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
const failed = runBundleTests(loadBundle(dir)).filter((test) => !test.passed);
for (const test of failed) log(`failed: ${test.name}: ${test.differences.join("; ")}`);
log(`compiled ${wasm.length} bytes; ${failed.length} of the bundle's own cases failed`);
process.exitCode = failed.length > 0 ? 1 : 0;
