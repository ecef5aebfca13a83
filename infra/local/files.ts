import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/** Writes a file whole or not at all, so that no reader sees half of it. Default mode: owner only. */
export function writeWhole(path: string, contents: string | Uint8Array, mode = 0o600): void {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(draft, contents, { mode, flush: true });
  renameSync(draft, path);
}

/** The secret in the file, made at the first call: `bytes` random bytes in hex. */
export function secretFile(path: string, bytes = 32): string {
  if (!existsSync(path)) writeWhole(path, `${randomBytes(bytes).toString("hex")}\n`);
  return readFileSync(path, "utf8").trim();
}

export function readJson<T>(path: string): T | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}
