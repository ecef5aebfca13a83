import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isBundleFile, type PolicyBundle, readBundle } from "./bundle.ts";

/** The bundle that ships with the project. */
export const defaultBundleDir = fileURLToPath(new URL("../../bundles/default", import.meta.url));

/** Reads a bundle's folder; throws PolicyError BUNDLE_INVALID, or the file system's error. */
export function loadBundle(dir: string): PolicyBundle {
  return readBundle(readBundleFiles(dir));
}

/** The files that make up a bundle; others in the folder are left out. */
export function readBundleFiles(dir: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(dir.length).replaceAll("\\", "/").replace(/^\/+/, "");
    if (isBundleFile(name)) files.set(name, readFileSync(path));
  }
  return files;
}
