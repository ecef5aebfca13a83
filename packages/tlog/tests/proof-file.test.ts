import { describe, expect, it } from "vitest";
import {
  addSignatures,
  cosign,
  encodeProof,
  inclusionProof,
  leafHash,
  parseNote,
  parseProof,
  signatureType,
  signCheckpoint,
  TlogError,
  verifierKeyOf,
  verifyProof,
} from "../src/index.ts";
import { flipBit, memoryLog, newSigner, rootAt } from "./memory-log.ts";

const size = 21;
const index = 5;
const log = memoryLog(size);
const signer = newSigner("log.example/audit");
const checkpoint = signCheckpoint({ origin: signer.name, size, root: rootAt(log, size), extensions: [] }, signer);
const hashes = inclusionProof(index, size, log.read);
const proof = encodeProof({ index, hashes, checkpoint });
const leaf = leafHash(log.entries[index]!);
const trust = { origin: signer.name, keys: [verifierKeyOf(signer, signatureType.ed25519)] };
const refused = (run: () => unknown) => expect(run).toThrow(TlogError);

describe("proof files", () => {
  it("have the lines that the specification gives, in its order", () => {
    const lines = encodeProof({ index, hashes, checkpoint, extra: Uint8Array.of(1, 2) }).split("\n");
    expect(lines.slice(0, 3)).toEqual(["c2sp.org/tlog-proof@v1", "extra AQI=", "index 5"]);
    expect(lines.slice(3, 3 + hashes.length)).toEqual(hashes.map((hash) => Buffer.from(hash).toString("base64")));
    expect(lines.slice(3 + hashes.length).join("\n")).toBe(`\n${checkpoint}`);
  });

  it("parse to what was encoded", () => {
    for (const extra of [undefined, new Uint8Array(), Uint8Array.of(9)]) {
      const given = { index, hashes, checkpoint, ...(extra && { extra }) };
      expect(parseProof(encodeProof(given))).toEqual(given);
    }
  });

  it("verify for the leaf they were made for", () => {
    const verified = verifyProof(proof, leaf, trust);
    expect(verified).toMatchObject({ index, checkpoint: { size, root: rootAt(log, size) } });
  });

  it("verify for the only leaf of a log, where they have no hashes", () => {
    const one = memoryLog(1);
    const head = signCheckpoint({ origin: signer.name, size: 1, root: rootAt(one, 1), extensions: [] }, signer);
    verifyProof(encodeProof({ index: 0, hashes: [], checkpoint: head }), leafHash(one.entries[0]!), trust);
  });

  it("with any bit flipped are refused", () => {
    const bytes = new Uint8Array(Buffer.from(proof));
    for (let bit = 0; bit < bytes.length * 8; bit++) refused(() => verifyProof(flipBit(bytes, bit), leaf, trust));
  });

  it("for another leaf, by another log's key, or without its witnesses are refused", () => {
    refused(() => verifyProof(proof, leafHash(log.entries[index + 1]!), trust));
    refused(() => verifyProof(proof, leaf, { ...trust, origin: "other.example" }));
    const stranger = verifierKeyOf(newSigner(signer.name), signatureType.ed25519);
    refused(() => verifyProof(proof, leaf, { ...trust, keys: [stranger] }));
    refused(() => verifyProof(proof, leaf, { ...trust, quorum: 1 }));
  });

  it("carry cosignatures of the checkpoint along", () => {
    const witness = newSigner("witness.example");
    const cosigned = addSignatures(checkpoint, [cosign(parseNote(checkpoint).text, witness, 1)]);
    const witnesses = [verifierKeyOf(witness, signatureType.cosignatureV1)];
    const withWitness = encodeProof({ index, hashes, checkpoint: cosigned });
    expect(verifyProof(withWitness, leaf, { ...trust, witnesses, quorum: 1 }).checkpoint.cosignatures).toHaveLength(1);
  });

  it.each([
    ["another version", proof.replace("@v1", "@v2")],
    ["no index", proof.replace("index 5\n", "")],
    ["a padded index", proof.replace("index 5", "index 05")],
    ["the index twice", proof.replace("index 5", "index 5\nindex 5")],
    ["extra data after the index", proof.replace("index 5", "index 5\nextra AQI=")],
    ["a short hash", proof.replace("index 5\n", "index 5\nAQI=\n")],
    ["no checkpoint", proof.slice(0, proof.indexOf("\n\n") + 2)],
    ["bytes after the checkpoint", `${proof}\n`],
  ])("with %s are refused", (_what, text) => {
    refused(() => parseProof(text));
  });
});
