/** Proofs from stored tiles. Each is verified here before anyone gets it: a damaged row is our fault to notice. */
import { AppError, type Queryable } from "@sallyport/runtime";
import {
  consistencyProof,
  encodeProof,
  frontierAt,
  type Hash,
  type HashReader,
  inclusionProof,
  leafHash,
  parseCheckpoint,
  parseNote,
  rootOf,
  tileHashReader,
  tilePath,
  tilesRead,
  verifyConsistency,
  verifyInclusion,
} from "@sallyport/tlog";
import type { Head } from "../db/log.ts";
import { type StoredRecord, tileBytes } from "../db/read.ts";

/** The tlog-proof of a record under the head. Throws INTERNAL when tiles, record and head do not belong together. */
export async function proveInclusion(db: Queryable, head: Head, record: StoredRecord): Promise<string> {
  const { size } = head.frontier;
  const hashes = await withTiles(db, size, (read) => inclusionProof(record.index, size, read));
  const { root } = parseCheckpoint(parseNote(head.checkpoint).text);
  guarded(() => verifyInclusion(record.index, size, leafHash(record.json), hashes, root));
  return encodeProof({ index: record.index, hashes, checkpoint: head.checkpoint });
}

/** The proof that the log of `first` records is a prefix of that of `second`, both at most the head's size. */
export async function proveConsistency(db: Queryable, first: number, second: number): Promise<Hash[]> {
  const hashes = await withTiles(db, second, (read) => consistencyProof(first, second, read));
  const rootAt = (size: number) => withTiles(db, size, (read) => rootOfTiles(size, read));
  const [firstRoot, secondRoot] = [await rootAt(first), await rootAt(second)];
  guarded(() => verifyConsistency(first, second, firstRoot, secondRoot, hashes));
  return hashes;
}

/** Reads the tiles that `use` needs of the tree of `size` records, then runs it on them. */
export async function withTiles<T>(db: Queryable, size: number, use: (read: HashReader) => T): Promise<T> {
  const bytes = await tileBytes(db, tilesRead(size, use));
  return guarded(() =>
    use(
      tileHashReader(size, (tile) => {
        const found = bytes.get(tilePath(tile));
        if (found === undefined) throw new Error(`${tilePath(tile)} is missing`);
        return found;
      }),
    ),
  );
}

function rootOfTiles(size: number, read: HashReader): Hash {
  return rootOf(frontierAt(size, read));
}

function guarded<T>(step: () => T): T {
  try {
    return step();
  } catch (cause) {
    throw new AppError("INTERNAL", "the log does not verify; it needs an operator", { reason: "LOG_DAMAGED", cause });
  }
}
