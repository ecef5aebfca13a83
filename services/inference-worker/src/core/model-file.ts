import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../engine/engine.ts";

const readBytes = 1024 * 1024;

export function modelPath(storeDir: string, digest: string): string {
  // The digest comes from a signed manifest, and still must not choose a path.
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new EngineError("MODEL_UNUSABLE", "a digest is 64 hexadecimal digits");
  return join(storeDir, "sha256", digest);
}

/** Whether there is a regular file; nothing about what is in it. */
export async function modelFileExists(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true;
}

/** A model file that must have a certain SHA-256. It is hashed once, and again whenever it may have changed. */
export class ModelFile {
  readonly path: string;
  readonly #digest: string;
  #verified: string | undefined;
  #verifying: Promise<void> | undefined;

  constructor(path: string, digest: string) {
    this.path = path;
    this.#digest = digest;
  }

  /** Rejects with MODEL_UNUSABLE when the file is missing or another. Cheap while device, inode, size and times stay. */
  async verify(): Promise<void> {
    this.#verifying ??= this.#verifyOnce().finally(() => (this.#verifying = undefined));
    await this.#verifying;
  }

  async #verifyOnce(): Promise<void> {
    const found = await stat(this.path, { bigint: true }).catch(() => undefined);
    if (found?.isFile() !== true) throw new EngineError("MODEL_UNUSABLE", "the model's file is not in the store");
    if (identityOf(found) === this.#verified) return;
    this.#verified = undefined;
    const handle = await open(this.path, "r");
    try {
      const before = identityOf(await handle.stat({ bigint: true }));
      const digest = await sha256Of(handle);
      const after = identityOf(await handle.stat({ bigint: true }));
      if (before !== after) throw new EngineError("MODEL_UNUSABLE", "the model's file changes while it is read");
      if (digest !== this.#digest) throw new EngineError("MODEL_UNUSABLE", "the model's file is not the approved one");
      this.#verified = after;
    } finally {
      await handle.close();
    }
  }
}

/** The change time cannot be set back by whoever may write the file. */
function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

async function sha256Of(handle: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(readBytes);
  let position = 0;
  while (true) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}
