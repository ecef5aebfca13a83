import { describe, expect, it } from "vitest";
import {
  consistencyProof,
  emptyRoot,
  inclusionProof,
  leafHash,
  openNote,
  parseVkey,
  verifyConsistency,
  verifyInclusion,
} from "../src/index.ts";
import { hex, memoryLog, rootAt } from "./memory-log.ts";

// The eight leaves, roots and proofs of Certificate Transparency's reference tests.
const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const roots = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const a = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const b = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const c = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const d = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const e = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const f = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const inclusions: [index: number, size: number, proof: string[]][] = [
  [0, 1, []],
  [0, 8, [a, b, c]],
  [5, 8, [d, e, roots[4]!]],
  [2, 3, [roots[2]!]],
  [1, 5, [roots[1]!, b, d]],
];
const consistencies: [first: number, second: number, proof: string[]][] = [
  [1, 1, []],
  [1, 8, [a, b, c]],
  [6, 8, [f, e, roots[4]!]],
  [2, 5, [b, d]],
];

describe("published vectors", () => {
  const log = memoryLog(leaves.length, (i) => Buffer.from(leaves[i]!, "hex"));

  it("every root of the eight-leaf tree is the one that Certificate Transparency publishes", () => {
    expect(Buffer.from(emptyRoot).toString("hex")).toBe(roots[0]);
    for (const [size, root] of roots.entries()) expect(Buffer.from(rootAt(log, size)).toString("hex")).toBe(root);
  });

  it.each(inclusions)("the inclusion proof of leaf %i in %i leaves is the published one", (index, size, proof) => {
    expect(inclusionProof(index, size, log.read)).toEqual(proof.map(hex));
    verifyInclusion(index, size, leafHash(log.entries[index]!), proof.map(hex), hex(roots[size]!));
  });

  it.each(consistencies)("the consistency proof from %i to %i leaves is the published one", (first, second, proof) => {
    expect(consistencyProof(first, second, log.read)).toEqual(proof.map(hex));
    verifyConsistency(first, second, hex(roots[first]!), hex(roots[second]!), proof.map(hex));
  });

  it("the note in the documentation of Go's sumdb/note opens with the key given there", () => {
    const key = parseVkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    const text =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const line =
      "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    expect(openNote(`${text}\n${line}`, [key]).text).toBe(text);
    expect(() => openNote(`${text.replace("the", "an")}\n${line}`, [key])).toThrow("not valid");
  });
});
