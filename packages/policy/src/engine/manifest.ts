import { createHash } from "node:crypto";
import { PolicyError } from "../errors.ts";

/** What a compiled policy was made from: dist/manifest.json. Digests are hex SHA-256. */
export interface PolicyManifest {
  format: "sallyport-policy-manifest/1";
  /** version of opa that compiled it */
  opa: string;
  entrypoints: string[];
  /** Rego files that were compiled (tests are not) */
  sources: Record<string, string>;
  wasm: string;
}

export const entrypoints = ["sallyport/decision", "sallyport/authz"] as const;
export const manifestFormat = "sallyport-policy-manifest/1";

/** Rego that is compiled: everything in rego/ but tests. */
export function isSource(path: string): boolean {
  return path.startsWith("rego/") && path.endsWith(".rego") && !path.endsWith("_test.rego");
}

/** Throws BUNDLE_INVALID unless the compiled policy belongs to exactly these sources. */
export function checkManifest(value: unknown, files: ReadonlyMap<string, Uint8Array>): PolicyManifest {
  const manifest = value as PolicyManifest;
  if (manifest?.format !== manifestFormat || typeof manifest.sources !== "object" || manifest.sources === null) {
    throw new PolicyError("BUNDLE_INVALID", "dist/manifest.json is not a policy manifest");
  }
  const listed = Object.keys(manifest.sources).sort();
  const present = [...files.keys()].filter(isSource).sort();
  const stale = present.filter((path) => manifest.sources[path] !== digest(files.get(path)));
  if (listed.join() !== present.join() || stale.length > 0) {
    const names = stale.length > 0 ? stale : present.filter((path) => !listed.includes(path));
    throw new PolicyError(
      "BUNDLE_INVALID",
      `dist/policy.wasm was compiled from other sources (${names.join(", ")}): compile the bundle again`,
    );
  }
  if (manifest.wasm !== digest(files.get("dist/policy.wasm"))) {
    throw new PolicyError("BUNDLE_INVALID", "dist/policy.wasm is not the one that the manifest names");
  }
  if (!entrypoints.every((name) => manifest.entrypoints?.includes(name))) {
    throw new PolicyError("BUNDLE_INVALID", "the compiled policy lacks an entry point");
  }
  return manifest;
}

function digest(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : createHash("sha256").update(bytes).digest("hex");
}
