/** Model files by the SHA-256 of their contents: `<dir>/sha256/<hex>`, written once, read-only from then on. */
import { createHash } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Ids } from "@sallyport/runtime";
import { checkGguf, GgufError, type GgufFacts, maxHeaderBytes } from "../domain/gguf.ts";

const maxChunkBytes = 1024 * 1024;
/** Longer than any import may take. */
const abandonedAfterMs = 2 * 3_600_000;

export interface StoredFile {
  digest: string;
  sizeBytes: number;
  facts: GgufFacts;
}

export interface ModelStore {
  /**
   * Takes a GGUF file; it appears under its digest only when all of it is there and its header is sound. Throws
   * INVALID_ARGUMENT (GGUF_INVALID, DIGEST_MISMATCH, CHUNK_SIZE) or RESOURCE_EXHAUSTED (MODEL_TOO_LARGE).
   */
  receive(chunks: AsyncIterable<Uint8Array>, expectedDigest: string): Promise<StoredFile>;
}

/** Makes the folders and removes what an import that was cut short has left. */
export async function openModelStore(dir: string, maxBytes: number, ids: Ids): Promise<ModelStore> {
  const incoming = join(dir, "incoming");
  const files = join(dir, "sha256");
  for (const folder of [incoming, files]) await mkdir(folder, { recursive: true, mode: 0o755 });
  await removeOld(incoming);
  return {
    async receive(chunks, expectedDigest) {
      const draft = join(incoming, ids.uuid());
      try {
        const { digest, sizeBytes } = await write(draft, chunks, maxBytes);
        if (expectedDigest !== "" && digest !== expectedDigest)
          throw invalid("DIGEST_MISMATCH", "the file has another digest than stated");
        const facts = await inspect(draft, sizeBytes);
        // A hard link fails where the name is taken: then the same bytes are there already.
        await link(draft, join(files, digest)).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== "EEXIST") throw error;
        });
        await sync(files);
        return { digest, sizeBytes, facts };
      } finally {
        await rm(draft, { force: true });
      }
    },
  };
}

async function removeOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { force: true });
  }
}

async function write(draft: string, chunks: AsyncIterable<Uint8Array>, maxBytes: number) {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  await using file = await open(draft, "wx", 0o444);
  for await (const chunk of chunks) {
    if (chunk.length > maxChunkBytes) throw invalid("CHUNK_SIZE", `a chunk has at most ${maxChunkBytes} bytes`);
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      throw new AppError("RESOURCE_EXHAUSTED", `a model has at most ${maxBytes} bytes here`, {
        reason: "MODEL_TOO_LARGE",
      });
    }
    hash.update(chunk);
    await file.writeFile(chunk);
  }
  await file.sync();
  return { digest: hash.digest("hex"), sizeBytes };
}

async function inspect(path: string, sizeBytes: number): Promise<GgufFacts> {
  await using file = await open(path, "r");
  const head = await readHead(file, Math.min(sizeBytes, maxHeaderBytes));
  try {
    return checkGguf(head, sizeBytes);
  } catch (error) {
    if (error instanceof GgufError) throw invalid("GGUF_INVALID", `the file is not a sound GGUF: ${error.message}`);
    throw error;
  }
}

async function readHead(file: FileHandle, length: number): Promise<Uint8Array> {
  const head = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(head, at, length - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return head.subarray(0, at);
}

/** So that the new name outlives a power cut. */
async function sync(folder: string): Promise<void> {
  await using handle = await open(folder, "r");
  await handle.sync();
}

function invalid(reason: string, message: string): AppError {
  return new AppError("INVALID_ARGUMENT", message, { reason });
}
