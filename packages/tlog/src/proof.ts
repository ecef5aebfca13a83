import { type CheckpointTrust, type OpenedCheckpoint, openCheckpoint } from "./checkpoint.ts";
import { fromBase64, hashFromBase64, parseDecimal, strictText, toBase64 } from "./encoding.ts";
import { check } from "./errors.ts";
import { type Hash, maxProofHashes } from "./merkle.ts";
import { verifyInclusion } from "./merkle-proof.ts";
import { maxNoteBytes, parseNote } from "./note.ts";

/** A self-contained proof that a leaf is in a log (c2sp.org/tlog-proof). */
export type TlogProof = {
  /** Zero-based index of the leaf. */
  readonly index: number;
  /** From the leaf's sibling up to the root's child. */
  readonly hashes: readonly Hash[];
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string;
  /** Application data. Nothing authenticates it. */
  readonly extra?: Uint8Array;
};

const header = "c2sp.org/tlog-proof@v1";
const extraPrefix = "extra ";
const indexPrefix = "index ";

/** The text form of a proof. */
export function encodeProof({ index, hashes, checkpoint, extra }: TlogProof): string {
  const lines = [
    header,
    ...(extra === undefined ? [] : [extraPrefix + toBase64(extra)]),
    indexPrefix + String(index),
    ...hashes.map(toBase64),
  ];
  const text = `${lines.join("\n")}\n\n${checkpoint}`;
  parseProof(text);
  return text;
}

/** Parses a proof strictly; verifies nothing. */
export function parseProof(input: string | Uint8Array): TlogProof {
  const text = strictText(input, "the proof");
  check(Buffer.byteLength(text) <= 2 * maxNoteBytes, "format", "the proof is too long");
  const split = text.indexOf("\n\n");
  check(split > 0, "format", "the proof has no checkpoint");
  const checkpoint = text.slice(split + 2);
  parseNote(checkpoint);
  const [first, ...lines] = text.slice(0, split).split("\n");
  check(first === header, "format", "the proof does not start with its format line");
  const extra = lines[0]?.startsWith(extraPrefix) ? lines.shift()!.slice(extraPrefix.length) : undefined;
  const indexLine = lines.shift();
  check(indexLine?.startsWith(indexPrefix) === true, "format", "the proof has no index line");
  check(lines.length <= maxProofHashes, "format", "the proof has more hashes than any tree needs");
  return {
    index: parseDecimal(indexLine!.slice(indexPrefix.length), "the index"),
    hashes: lines.map((line) => hashFromBase64(line, "a proof hash")),
    checkpoint,
    ...(extra === undefined ? {} : { extra: fromBase64(extra, "the extra data") }),
  };
}

/**
 * Verifies that the leaf with hash `leaf` is in the log that `trust` names: signatures first, then inclusion under
 * the signed root. The caller hashes the leaf from the entry itself (`leafHash`); it is never taken from the proof.
 */
export function verifyProof(
  proof: string | Uint8Array,
  leaf: Hash,
  trust: CheckpointTrust,
): { index: number; checkpoint: OpenedCheckpoint } {
  const { index, hashes, checkpoint: note } = parseProof(proof);
  const checkpoint = openCheckpoint(note, trust);
  verifyInclusion(index, checkpoint.size, leaf, hashes, checkpoint.root);
  return { index, checkpoint };
}
