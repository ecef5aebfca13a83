import { type Cosignature, verifyCosignatures } from "./cosignature.ts";
import { hashFromBase64, parseDecimal, toBase64 } from "./encoding.ts";
import { check } from "./errors.ts";
import type { NoteSigner, VerifierKey } from "./keys.ts";
import { checkSize, emptyRoot, type Hash, hashesEqual } from "./merkle.ts";
import { openNote, signNote } from "./note.ts";

/** A log's head (c2sp.org/tlog-checkpoint): who, how many leaves, which root. */
export type Checkpoint = {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** Opaque, non-empty lines; normally none. */
  readonly extensions: readonly string[];
};

/** Whom a reader trusts: the log's keys, and how many of which witnesses must have cosigned. */
export type CheckpointTrust = {
  readonly origin: string;
  readonly keys: readonly VerifierKey[];
  readonly witnesses?: readonly VerifierKey[];
  /** Distinct witnesses needed; 0 when left out. */
  readonly quorum?: number;
};

/** A checkpoint whose signatures were verified. */
export type OpenedCheckpoint = Checkpoint & { readonly cosignatures: readonly Cosignature[] };

/** The note text of a checkpoint, with its final newline. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  const text = `${[origin, String(size), toBase64(root), ...extensions].join("\n")}\n`;
  parseCheckpoint(text);
  return text;
}

/** Parses a note text as a checkpoint, strictly; verifies no signature. */
export function parseCheckpoint(text: string): Checkpoint {
  check(text.endsWith("\n"), "format", "a checkpoint ends in a newline");
  const lines = text.slice(0, -1).split("\n");
  check(lines.length >= 3, "format", "a checkpoint has at least three lines");
  check(
    lines.every((line) => line !== ""),
    "format",
    "a checkpoint has no empty lines",
  );
  const [origin, sizeLine, rootLine, ...extensions] = lines as [string, string, string];
  const size = parseDecimal(sizeLine, "the tree size");
  const root = hashFromBase64(rootLine, "the root hash");
  checkSize(size);
  check(size > 0 || hashesEqual(root, emptyRoot), "format", "the root of an empty tree is the hash of nothing");
  return { origin, size, root, extensions };
}

/** Signs a checkpoint; the signer's name must be the origin, as the specification recommends. */
export function signCheckpoint(checkpoint: Checkpoint, signer: NoteSigner): string {
  check(signer.name === checkpoint.origin, "range", "the signer's name is not the checkpoint's origin");
  return signNote(formatCheckpoint(checkpoint), [signer]);
}

/**
 * Opens a signed checkpoint: at least one good signature by the log, the expected origin, and a quorum of witnesses
 * where one is asked for. Anything else throws.
 */
export function openCheckpoint(note: string | Uint8Array, trust: CheckpointTrust): OpenedCheckpoint {
  const opened = openNote(note, trust.keys);
  const checkpoint = parseCheckpoint(opened.text);
  check(checkpoint.origin === trust.origin, "signature", "the checkpoint is from another log");
  const cosignatures = verifyCosignatures(opened, trust.witnesses ?? []);
  check(cosignatures.length >= (trust.quorum ?? 0), "signature", "too few witnesses cosigned the checkpoint");
  return { ...checkpoint, cosignatures };
}
