import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  addSignatures,
  checkpointPath,
  cosign,
  encodeEntryBundle,
  encodeProof,
  formatVkey,
  inclusionProof,
  leafHash,
  openCheckpoint,
  parseNote,
  parseProof,
  parseVkey,
  signatureType,
  signCheckpoint,
  tilePath,
  tileWidthAt,
  verifierKeyOf,
  verifyProof,
} from "../src/index.ts";
import { buildGoVerifier, type GoVerifier } from "../testing/index.ts";
import { flipBit, type MemoryLog, memoryLog, newSigner, rootAt, tilesOf } from "./memory-log.ts";

const verifier = buildGoVerifier();
const work = mkdtempSync(join(tmpdir(), "tlog-logs-"));
if (typeof verifier === "string") console.warn(`skipped: the cross-check with Go's sumdb tools: ${verifier}`);
afterAll(() => {
  rmSync(work, { recursive: true });
  if (typeof verifier !== "string") verifier[Symbol.dispose]();
});

describe.skipIf(typeof verifier === "string")("Go's sumdb tools", () => {
  it.each([1, 2, 255, 256, 257, 1000])("accept checkpoint, tiles, bundles and proof of a log of %i", (size) => {
    const { dir } = writeLog(memoryLog(size), size);
    expect(run("verify", dir)).toEqual({ status: 0, stdout: `inclusion=${size} consistency=${size}\n` });
  });

  it.each(["checkpoint", "tile/0/000", "tile/entries/001.p/44", "proof.tlog-proof", "proof.entry"])(
    "refuse the log when a bit of %s is flipped",
    (name) => {
      const { dir } = writeLog(memoryLog(300), 300);
      expect(run("verify", dir).status).toBe(0);
      const bytes = new Uint8Array(readFileSync(join(dir, name)));
      writeFileSync(join(dir, name), flipBit(bytes, (bytes.length - 8) * 8));
      expect(run("verify", dir).status).not.toBe(0);
    },
  );

  it("make a log whose key, checkpoint and proof verify here", () => {
    const dir = mkdtempSync(join(work, "made-"));
    expect(run("make", dir).stdout).toBe("entries=300\n");
    const read = (name: string) => readFileSync(join(dir, name));
    const key = parseVkey(read("vkey").toString());
    const trust = { origin: "go.example/log", keys: [key] };
    const log = memoryLog(300);
    expect(openCheckpoint(read("checkpoint"), trust)).toMatchObject({ size: 300, root: rootAt(log, 300) });
    const proof = read("proof.tlog-proof");
    expect(parseProof(proof)).toMatchObject({ index: 271, hashes: inclusionProof(271, 300, log.read) });
    expect(verifyProof(proof, leafHash(read("proof.entry")), trust).index).toBe(271);
  });
});

function run(command: "verify" | "make", dir: string) {
  return (verifier as GoVerifier).run(command, dir);
}

/** Writes a log as auditors fetch it, with a cosigned checkpoint and the proof of its middle entry. */
function writeLog(log: MemoryLog, size: number): { dir: string } {
  const dir = mkdtempSync(join(work, "log-"));
  const signer = newSigner("log.example/audit");
  const witness = newSigner("witness.example/w1");
  const head = signCheckpoint({ origin: signer.name, size, root: rootAt(log, size), extensions: [] }, signer);
  const checkpoint = addSignatures(head, [cosign(parseNote(head).text, witness, 1_700_000_000)]);
  const index = Math.floor(size / 2);
  const files: [string, string | Uint8Array][] = [
    ["vkey", formatVkey(verifierKeyOf(signer, signatureType.ed25519))],
    ["witness-vkey", formatVkey(verifierKeyOf(witness, signatureType.cosignatureV1))],
    [checkpointPath, checkpoint],
    ["proof.tlog-proof", encodeProof({ index, hashes: inclusionProof(index, size, log.read), checkpoint })],
    ["proof.entry", log.entries[index]!],
    ...tilesOf(log, size),
    ...bundlesOf(log, size),
  ];
  for (const [name, data] of files) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), data);
  }
  return { dir };
}

function bundlesOf(log: MemoryLog, size: number): [string, Uint8Array][] {
  return Array.from({ length: Math.ceil(size / 256) }, (_, index) => {
    const width = tileWidthAt("entries", index, size);
    const bundle = encodeEntryBundle(log.entries.slice(index * 256, index * 256 + width));
    return [tilePath({ level: "entries", index, width }), bundle];
  });
}
