import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  append,
  consistencyProof,
  emptyFrontier,
  frontierAt,
  inclusionProof,
  leafHash,
  rootOf,
  TlogError,
  verifyConsistency,
  verifyInclusion,
} from "../src/index.ts";
import { flipBit, memoryLog, rootAt } from "./memory-log.ts";

const maxSize = 300;
const log = memoryLog(maxSize);
const leaf = (index: number) => leafHash(log.entries[index]!);
const refused = (run: () => void) => expect(run).toThrow(TlogError);

describe("inclusion", () => {
  it("every leaf of every tree up to 300 leaves proves its inclusion", () => {
    for (let size = 1; size <= maxSize; size++) {
      const root = rootAt(log, size);
      for (let index = 0; index < size; index++) {
        verifyInclusion(index, size, leaf(index), inclusionProof(index, size, log.read), root);
      }
    }
  });

  it("any flipped bit in leaf, root or proof is refused", () => {
    fc.assert(
      fc.property(arbitraryLeaf(), fc.nat(), ({ index, size }, pick) => {
        const proof = inclusionProof(index, size, log.read);
        const bytes = Buffer.concat([leaf(index), rootAt(log, size), ...proof]);
        const flipped = flipBit(new Uint8Array(bytes), pick % (bytes.length * 8));
        const [badLeaf, badRoot, ...badProof] = chunks(flipped);
        refused(() => verifyInclusion(index, size, badLeaf!, badProof, badRoot!));
      }),
      { numRuns: 2000 },
    );
  });

  it("a proof for another index, cut short, or made longer is refused", () => {
    fc.assert(
      fc.property(arbitraryLeaf(), fc.nat({ max: maxSize }), ({ index, size }, other) => {
        const proof = inclusionProof(index, size, log.read);
        const root = rootAt(log, size);
        if (other !== index) refused(() => verifyInclusion(other, size, leaf(index), proof, root));
        if (proof.length > 0) refused(() => verifyInclusion(index, size, leaf(index), proof.slice(0, -1), root));
        refused(() => verifyInclusion(index, size, leaf(index), [...proof, root], root));
      }),
      { numRuns: 1000 },
    );
  });

  it("an index outside the tree, or a hash of the wrong length, is refused", () => {
    const root = rootAt(log, 1);
    refused(() => verifyInclusion(1, 1, leaf(0), [], root));
    refused(() => verifyInclusion(-1, 1, leaf(0), [], root));
    refused(() => verifyInclusion(0, 0, leaf(0), [], root));
    refused(() => verifyInclusion(0.5, 1, leaf(0), [], root));
    refused(() => verifyInclusion(0, 1, new Uint8Array(31), [], new Uint8Array(31)));
  });
});

describe("consistency", () => {
  it("every earlier head of every tree up to 300 leaves is a prefix of it", () => {
    for (let second = 0; second <= maxSize; second++) {
      for (let first = 0; first <= second; first++) {
        const proof = consistencyProof(first, second, log.read);
        verifyConsistency(first, second, rootAt(log, first), rootAt(log, second), proof);
      }
    }
  });

  it("any flipped bit in roots or proof is refused", () => {
    fc.assert(
      fc.property(arbitraryPair(), fc.nat(), ({ first, second }, pick) => {
        const proof = consistencyProof(first, second, log.read);
        const bytes = Buffer.concat([rootAt(log, first), rootAt(log, second), ...proof]);
        const flipped = flipBit(new Uint8Array(bytes), pick % (bytes.length * 8));
        const [badFirst, badSecond, ...badProof] = chunks(flipped);
        refused(() => verifyConsistency(first, second, badFirst!, badSecond!, badProof));
      }),
      { numRuns: 2000 },
    );
  });

  it("a log that rewrote any one entry is not consistent with its past", () => {
    fc.assert(
      fc.property(arbitraryPair(), fc.nat(), ({ first, second }, pick) => {
        const edited = pick % first;
        const forged = memoryLog(second, (i) => Buffer.from(i === edited ? "edited" : `entry ${i}`));
        const proof = consistencyProof(first, second, forged.read);
        refused(() => verifyConsistency(first, second, rootAt(log, first), rootAt(forged, second), proof));
      }),
      { numRuns: 100 },
    );
  });

  it("a proof cut short, made longer, or for other sizes is refused", () => {
    fc.assert(
      fc.property(arbitraryPair(), ({ first, second }) => {
        fc.pre(first < second);
        const proof = consistencyProof(first, second, log.read);
        const [a, b] = [rootAt(log, first), rootAt(log, second)];
        refused(() => verifyConsistency(first, second, a, b, proof.slice(0, -1)));
        refused(() => verifyConsistency(first, second, a, b, [...proof, b]));
        refused(() => verifyConsistency(second, first, b, a, proof));
        refused(() => verifyConsistency(first, second + 512, a, b, proof));
      }),
      { numRuns: 500 },
    );
  });
});

describe("the frontier", () => {
  it("rebuilt from stored hashes it is the one that appending gave", () => {
    for (const [size, head] of log.heads.entries()) expect(frontierAt(size, log.read)).toEqual(head);
  });

  it("with hashes that do not fit its size it is refused, not appended to", () => {
    refused(() => append({ size: 3, hashes: [leaf(0)] }, leaf(1)));
    refused(() => rootOf({ size: 1, hashes: [new Uint8Array(20)] }));
    refused(() => append(emptyFrontier, new Uint8Array(20)));
  });
});

function arbitraryLeaf() {
  return fc.tuple(fc.integer({ min: 1, max: maxSize }), fc.nat()).map(([size, pick]) => ({ size, index: pick % size }));
}

function arbitraryPair() {
  return fc
    .tuple(fc.integer({ min: 1, max: maxSize }), fc.nat())
    .map(([second, pick]) => ({ second, first: 1 + (pick % second) }));
}

function chunks(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / 32 }, (_, i) => bytes.slice(i * 32, i * 32 + 32));
}
