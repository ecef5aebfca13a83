/**
 * npm run check [-- folder]: the committed policy belongs to its sources (digests, no opa needed) and its cases pass;
 * where opa can be had, its Rego tests pass and compiling again gives the same bytes. `--install` lets Go fetch opa.
 */
import { resolve } from "node:path";
import { defaultBundleDir, loadBundle, runBundleTests } from "../src/index.ts";
import { compileBundle, testBundle } from "./compile.ts";
import { findOpa } from "./opa.ts";

const log = (line: string): void => console.error(line);
const args = process.argv.slice(2);
const dir = resolve(args.find((arg) => !arg.startsWith("--")) ?? defaultBundleDir);
const bundle = loadBundle(dir);
log(`digests: dist/policy.wasm belongs to its ${Object.keys(bundle.manifest.sources).length} sources`);
const results = runBundleTests(bundle);
const failed = results.filter((test) => !test.passed);
for (const test of failed) log(`failed: ${test.name}: ${test.differences.join("; ")}`);
log(`cases: ${results.length - failed.length} of ${results.length} passed`);
if (failed.length > 0) process.exitCode = 1;
const opa = findOpa(log, args.includes("--install"));
if (opa === undefined) {
  log("opa was not found: sources were compared by digest only");
} else {
  log(testBundle(opa.path, dir).trim());
  const same = compileBundle(opa.path, dir).manifest.wasm === bundle.manifest.wasm;
  log(same ? "compiling again gives the same bytes" : "compiling again gives other bytes: run policy:build");
  if (!same) process.exitCode = 1;
}
