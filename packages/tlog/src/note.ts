import { sign, verify } from "node:crypto";
import { fromBase64, strictText, toBase64 } from "./encoding.ts";
import { check } from "./errors.ts";
import {
  checkKeyName,
  type NoteSigner,
  publicKeyObject,
  signatureType,
  type VerifierKey,
  verifierKeyOf,
} from "./keys.ts";

/** Notes longer than this are refused before anything is parsed. */
export const maxNoteBytes = 1_000_000;

/** Signature lines that a note may have (the specification asks for at least 16). */
const maxSignatures = 100;

/** One signature line: who claims to have signed, and the bytes after the key id. */
export type NoteSignature = { readonly name: string; readonly keyId: number; readonly signature: Uint8Array };

/** A parsed note, nothing verified. `text` ends in a newline and must be ignored until a signature is checked. */
export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] };

const linePrefix = "— ";

/** Signs `text` (must end in a newline) with plain Ed25519 signatures, type 0x01 of c2sp.org/signed-note. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  check(signers.length > 0, "range", "a note needs a signer");
  checkText(text);
  const lines = signers.map((signer) => {
    const { name, keyId } = verifierKeyOf(signer, signatureType.ed25519);
    const signature = new Uint8Array(sign(null, Buffer.from(text), signer.privateKey));
    return formatSignature({ name, keyId, signature });
  });
  return `${text}\n${lines.join("")}`;
}

/** One signature line, with its newline. */
function formatSignature({ name, keyId, signature }: NoteSignature): string {
  checkKeyName(name);
  const id = new Uint8Array(4);
  new DataView(id.buffer).setUint32(0, keyId);
  return `${linePrefix}${name} ${toBase64(Uint8Array.of(...id, ...signature))}\n`;
}

/** Adds signature lines to a note, such as a witness's cosignature. The note itself is parsed first. */
export function addSignatures(note: string | Uint8Array, signatures: readonly NoteSignature[]): string {
  const text = strictText(note, "the note");
  const extended = text + signatures.map(formatSignature).join("");
  parseNote(text);
  parseNote(extended);
  return extended;
}

/** Parses a note strictly; verifies nothing. */
export function parseNote(note: string | Uint8Array): Note {
  const whole = strictText(note, "the note");
  check(Buffer.byteLength(whole) <= maxNoteBytes, "format", "the note is too long");
  // The text may have empty lines itself: the last one separates it from the signatures.
  const split = whole.lastIndexOf("\n\n");
  check(split > 0 && whole.endsWith("\n"), "format", "the note has no signatures");
  const text = whole.slice(0, split + 1);
  checkText(text);
  const lines = whole.slice(split + 2, -1).split("\n");
  check(lines.length <= maxSignatures, "format", "the note has too many signatures");
  return { text, signatures: lines.map(parseSignature) };
}

/**
 * Parses a note and verifies the Ed25519 signatures by `keys`. Signatures by unknown keys are ignored; a bad
 * signature by a known key refuses the whole note, and so does the lack of any good one.
 */
export function openNote(note: string | Uint8Array, keys: readonly VerifierKey[]): Note & { verified: VerifierKey[] } {
  const parsed = parseNote(note);
  const verified = new Set<VerifierKey>();
  for (const { name, keyId, signature } of parsed.signatures) {
    const key = keys.find((k) => k.name === name && k.keyId === keyId);
    if (key === undefined) continue;
    check(key.type === signatureType.ed25519, "signature", "a cosignature key cannot sign a note");
    const isGood = signature.length === 64 && verify(null, Buffer.from(parsed.text), publicKeyObject(key), signature);
    check(isGood, "signature", "a signature by a trusted key is not valid");
    verified.add(key);
  }
  check(verified.size > 0, "signature", "the note has no signature by a trusted key");
  return { ...parsed, verified: [...verified] };
}

function parseSignature(line: string): NoteSignature {
  check(line.startsWith(linePrefix), "format", "a signature line is malformed");
  const parts = line.slice(linePrefix.length).split(" ");
  check(parts.length === 2, "format", "a signature line is malformed");
  const [name, encoded] = parts as [string, string];
  checkKeyName(name);
  const bytes = fromBase64(encoded, "a signature");
  check(bytes.length > 4, "format", "a signature is too short");
  return { name, keyId: new DataView(bytes.buffer).getUint32(0), signature: bytes.slice(4) };
}

function checkText(text: string): void {
  check(text.isWellFormed() && text.endsWith("\n"), "format", "a note's text is well-formed and ends in a newline");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids them
  check(!/[\u0000-\u0009\u000b-\u001f]/.test(text), "format", "a note has no control characters but newlines");
}
