import { createHash } from "node:crypto";
import { bytesEqual } from "./encoding.ts";
import { check } from "./errors.ts";

/** A SHA-256 value, 32 bytes. */
export type Hash = Uint8Array;

/** Reads the hash of the complete subtree over leaves [index * 2^level, (index + 1) * 2^level). */
export type HashReader = (level: number, index: number) => Hash;

/** A complete subtree's hash and its place. */
export type Node = { readonly level: number; readonly index: number; readonly hash: Hash };

/**
 * The compact range of a tree: one hash for each set bit of `size`, largest subtree first. It is all that is
 * needed to append and to know the root. `size` is a count of leaves, at most 2^53 - 1.
 */
export type Frontier = { readonly size: number; readonly hashes: readonly Hash[] };

/** The longest possible inclusion proof: trees here have fewer than 2^53 leaves. */
export const maxProofHashes = 64;

/** MTH of the empty tree: SHA-256 of nothing (RFC 6962 section 2.1). */
export const emptyRoot: Hash = sha256();

/** The frontier of the empty tree. */
export const emptyFrontier: Frontier = { size: 0, hashes: [] };

/** Hash of a leaf: SHA-256(0x00 ‖ entry). */
export function leafHash(entry: Uint8Array): Hash {
  return sha256(Uint8Array.of(0), entry);
}

/** Hash of an inner node: SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Hash, right: Hash): Hash {
  return sha256(Uint8Array.of(1), left, right);
}

/**
 * Appends one leaf hash. Returns the new frontier and every complete subtree that this leaf closed, the leaf
 * itself first, so that a store can write them. The given frontier is not changed.
 */
export function append(frontier: Frontier, leaf: Hash): { frontier: Frontier; closed: Node[] } {
  checkFrontier(frontier);
  check(leaf.length === 32, "range", "a leaf hash is 32 bytes");
  checkSize(frontier.size + 1);
  const hashes = [...frontier.hashes];
  const closed: Node[] = [{ level: 0, index: frontier.size, hash: leaf }];
  let hash = leaf;
  let index = frontier.size;
  for (let level = 1; index % 2 === 1; level++) {
    hash = nodeHash(hashes.pop()!, hash);
    index = half(index);
    closed.push({ level, index, hash });
  }
  hashes.push(hash);
  return { frontier: { size: frontier.size + 1, hashes }, closed };
}

/** The tree's root hash (MTH, RFC 6962 section 2.1). */
export function rootOf(frontier: Frontier): Hash {
  checkFrontier(frontier);
  return frontier.hashes.length === 0 ? emptyRoot : foldRight(frontier.hashes);
}

/** Rebuilds the frontier of a tree with `size` leaves from stored subtree hashes. */
export function frontierAt(size: number, read: HashReader): Frontier {
  checkSize(size);
  return { size, hashes: rangeNodes(0, size).map(({ level, index }) => read(level, index)) };
}

/** Hash of leaves [start, end) as MTH splits them; `start` must be a multiple of the range's power of two. */
export function rangeHash(start: number, end: number, read: HashReader): Hash {
  return foldRight(rangeNodes(start, end).map(({ level, index }) => read(level, index)));
}

/** The largest power of two smaller than `n`, for n > 1 (the split point k of RFC 6962 section 2.1). */
export function splitPoint(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** Throws unless `size` is a whole number of leaves that a double holds exactly. */
export function checkSize(size: number): void {
  check(Number.isSafeInteger(size) && size >= 0, "range", "a tree size is a whole number from 0 to 2^53 - 1");
}

/** True when two hashes are the same 32 bytes. */
export function hashesEqual(a: Hash, b: Hash): boolean {
  return a.length === 32 && bytesEqual(a, b);
}

/** n / 2, rounded down, for numbers beyond the 32 bits of `>>`. */
export function half(n: number): number {
  return Math.floor(n / 2);
}

function rangeNodes(start: number, end: number): { level: number; index: number }[] {
  const nodes: { level: number; index: number }[] = [];
  let at = start;
  while (at < end) {
    let level = 0;
    let width = 1;
    while (width * 2 <= end - at) {
      width *= 2;
      level++;
    }
    check(at % width === 0, "range", "the range does not start on a subtree of its own size");
    nodes.push({ level, index: at / width });
    at += width;
  }
  return nodes;
}

function foldRight(hashes: readonly Hash[]): Hash {
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

function checkFrontier(frontier: Frontier): void {
  checkSize(frontier.size);
  let bits = 0;
  for (let n = frontier.size; n > 0; n = half(n)) bits += n % 2;
  check(frontier.hashes.length === bits, "range", "the frontier has the wrong number of hashes for its size");
  check(
    frontier.hashes.every((hash) => hash.length === 32),
    "range",
    "a frontier hash is not 32 bytes",
  );
}

function sha256(...parts: Uint8Array[]): Hash {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}
