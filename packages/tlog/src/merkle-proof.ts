import { check } from "./errors.ts";
import {
  checkSize,
  emptyRoot,
  type Hash,
  type HashReader,
  half,
  hashesEqual,
  maxProofHashes,
  nodeHash,
  rangeHash,
  splitPoint,
} from "./merkle.ts";

/**
 * The inclusion proof of leaf `index` in the tree of `size` leaves: PATH(m, D[n]) of RFC 6962 section 2.1.1,
 * from the leaf's sibling up to the root's child.
 */
export function inclusionProof(index: number, size: number, read: HashReader): Hash[] {
  checkInTree(index, size);
  const path: Hash[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      path.push(rangeHash(middle, end, read));
      end = middle;
    } else {
      path.push(rangeHash(start, middle, read));
      start = middle;
    }
  }
  return path.reverse();
}

/**
 * The proof that the tree of `first` leaves is a prefix of that of `second`: PROOF(m, D[n]) of RFC 6962
 * section 2.1.2. Empty when the sizes are equal or `first` is 0.
 */
export function consistencyProof(first: number, second: number, read: HashReader): Hash[] {
  checkSizes(first, second);
  if (first === 0 || first === second) return [];
  const path: Hash[] = [];
  let start = 0;
  let end = second;
  let isPrefix = true;
  while (end > first) {
    const middle = start + splitPoint(end - start);
    if (first <= middle) {
      path.push(rangeHash(middle, end, read));
      end = middle;
    } else {
      path.push(rangeHash(start, middle, read));
      start = middle;
      isPrefix = false;
    }
  }
  // The verifier has the old root already: it is left out when it is itself a subtree of the new tree.
  if (!isPrefix) path.push(rangeHash(start, end, read));
  return path.reverse();
}

/** Refuses (throws) unless `proof` connects `leaf` at `index` to `root`: RFC 9162 section 2.1.3.2. */
export function verifyInclusion(index: number, size: number, leaf: Hash, proof: readonly Hash[], root: Hash): void {
  checkInTree(index, size);
  checkHashes([leaf, root, ...proof]);
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  for (const p of proof) {
    check(sn > 0, "proof", "the inclusion proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = half(fn);
    sn = half(sn);
  }
  check(sn === 0, "proof", "the inclusion proof is too short");
  check(hashesEqual(r, root), "proof", "the inclusion proof does not lead to the root");
}

/**
 * Refuses (throws) unless the tree (`first`, `firstRoot`) is a prefix of (`second`, `secondRoot`):
 * RFC 9162 section 2.1.4.2. The cases outside the RFC's 0 < first < second are the obvious ones: equal sizes need
 * equal roots, size 0 needs the empty root, and both need an empty proof.
 */
export function verifyConsistency(
  first: number,
  second: number,
  firstRoot: Hash,
  secondRoot: Hash,
  proof: readonly Hash[],
): void {
  checkSizes(first, second);
  checkHashes([firstRoot, secondRoot, ...proof]);
  if (first === 0 || first === second) {
    check(proof.length === 0, "proof", "a consistency proof between these sizes is empty");
    const expected = first === second ? secondRoot : emptyRoot;
    check(hashesEqual(firstRoot, expected), "proof", "the roots do not fit the sizes");
    if (second === 0) check(hashesEqual(secondRoot, emptyRoot), "proof", "the roots do not fit the sizes");
    return;
  }
  check(proof.length > 0, "proof", "the consistency proof is empty");
  foldConsistency(first, second, firstRoot, secondRoot, proof);
}

function foldConsistency(first: number, second: number, firstRoot: Hash, secondRoot: Hash, proof: readonly Hash[]) {
  const [seed, ...rest] = splitPoint(first + 1) === first ? [firstRoot, ...proof] : proof;
  let fn = first - 1;
  let sn = second - 1;
  while (fn % 2 === 1) {
    fn = half(fn);
    sn = half(sn);
  }
  let fr = seed!;
  let sr = seed!;
  for (const c of rest) {
    check(sn > 0, "proof", "the consistency proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = half(fn);
    sn = half(sn);
  }
  check(sn === 0, "proof", "the consistency proof is too short");
  check(hashesEqual(fr, firstRoot), "proof", "the consistency proof does not lead to the first root");
  check(hashesEqual(sr, secondRoot), "proof", "the consistency proof does not lead to the second root");
}

function checkInTree(index: number, size: number): void {
  checkSize(size);
  check(Number.isSafeInteger(index) && index >= 0 && index < size, "range", "the leaf index is not inside the tree");
}

function checkSizes(first: number, second: number): void {
  checkSize(first);
  checkSize(second);
  check(first <= second, "range", "the first tree is larger than the second");
}

function checkHashes(hashes: readonly Hash[]): void {
  check(hashes.length <= maxProofHashes + 2, "range", "the proof has more hashes than any tree needs");
  for (const hash of hashes) check(hash.length === 32, "range", "a hash is not 32 bytes");
}
