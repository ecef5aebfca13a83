import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addSignatures,
  type Checkpoint,
  cosign,
  emptyRoot,
  formatCheckpoint,
  formatVkey,
  leafHash,
  openCheckpoint,
  openNote,
  parseCheckpoint,
  parseNote,
  parseVkey,
  signatureType,
  signCheckpoint,
  signNote,
  TlogError,
  verifierKeyOf,
  verifyCosignatures,
} from "../src/index.ts";
import { flipBit, newSigner } from "./memory-log.ts";

const signer = newSigner("log.example/audit");
const key = verifierKeyOf(signer, signatureType.ed25519);
const stranger = verifierKeyOf(newSigner("log.example/audit"), signatureType.ed25519);
const head: Checkpoint = { origin: signer.name, size: 42, root: leafHash(Uint8Array.of(1)), extensions: [] };
const refused = (run: () => unknown) => expect(run).toThrow(TlogError);

describe("verifier keys", () => {
  it("keep name, type and key through their text form", () => {
    for (const type of Object.values(signatureType)) {
      const vkey = verifierKeyOf(signer, type);
      expect(parseVkey(formatVkey(vkey))).toEqual(vkey);
    }
    expect(key.keyId).not.toBe(verifierKeyOf(signer, signatureType.cosignatureV1).keyId);
  });

  it("with any character changed are refused or are another key", () => {
    const vkey = formatVkey(key);
    fc.assert(
      fc.property(fc.nat({ max: vkey.length - 1 }), fc.constantFrom(..."aB3+/= \n"), (at, char) => {
        const changed = vkey.slice(0, at) + char + vkey.slice(at + 1);
        if (changed !== vkey) refused(() => parseVkey(changed));
      }),
    );
  });

  it.each(["", "a b", "a+b", "a\u00a0b", "a\nb", "\ud800"])("the name %j cannot sign", (name) => {
    refused(() => signNote("text\n", [{ ...signer, name }]));
  });
});

describe("signed notes", () => {
  const note = signNote("first\n\nlast\n", [signer]);

  it("keep texts with empty lines apart from their signatures", () => {
    expect(openNote(note, [key]).text).toBe("first\n\nlast\n");
    expect(openNote(Buffer.from(note), [stranger, key]).verified).toEqual([key]);
  });

  it("with any bit flipped do not open", () => {
    const bytes = new Uint8Array(Buffer.from(note));
    for (let bit = 0; bit < bytes.length * 8; bit++) refused(() => openNote(flipBit(bytes, bit), [key]));
  });

  it("by unknown keys only do not open", () => {
    refused(() => openNote(note, [stranger]));
    refused(() => openNote(note, []));
  });

  it("with a bad signature by a known key do not open, whatever else signed", () => {
    const other = newSigner("other.example");
    const { keyId } = verifierKeyOf(other, signatureType.ed25519);
    const spoiled = addSignatures(note, [{ name: other.name, keyId, signature: new Uint8Array(64) }]);
    expect(openNote(spoiled, [key]).verified).toEqual([key]);
    refused(() => openNote(spoiled, [key, verifierKeyOf(other, signatureType.ed25519)]));
  });

  it.each([
    ["no signature", "text\n\n"],
    ["no final newline", note.slice(0, -1)],
    ["a carriage return", note.replace("first", "first\r")],
    ["a tab in the text", note.replace("first", "fir\tst")],
    ["a plain dash", note.replace("—", "-")],
    ["two spaces", note.replace("audit ", "audit  ")],
    ["unpadded base64", note.replace(/=+\n$/, "\n")],
    ["more than 100 signatures", note + (note.split("\n\n").at(-1) ?? "").repeat(100)],
  ])("with %s are refused", (_what, text) => {
    refused(() => parseNote(text));
  });

  it("that are not UTF-8 or start with a byte order mark do not open", () => {
    refused(() => parseNote(Uint8Array.of(0xff, ...Buffer.from(note))));
    refused(() => openNote(Uint8Array.of(0xef, 0xbb, 0xbf, ...Buffer.from(note)), [key]));
  });
});

describe("checkpoints", () => {
  const trust = { origin: signer.name, keys: [key] };

  it("open to the head that was signed", () => {
    expect(openCheckpoint(signCheckpoint(head, signer), trust)).toEqual({ ...head, cosignatures: [] });
  });

  it("of another origin are refused, even with a trusted key", () => {
    refused(() => openCheckpoint(signCheckpoint(head, signer), { ...trust, origin: "other.example" }));
    refused(() => signCheckpoint({ ...head, origin: "other.example" }, signer));
  });

  it.each([
    ["a leading zero", "log.example\n042\n"],
    ["a sign", "log.example\n+42\n"],
    ["a size beyond exact numbers", "log.example\n9007199254740993\n"],
    ["an empty origin", "\n42\n"],
    ["a root for nothing", "log.example\n0\n"],
  ])("with %s are refused", (_what, start) => {
    refused(() => parseCheckpoint(`${start}${Buffer.from(head.root).toString("base64")}\n`));
  });

  it("of the empty tree carry the hash of nothing", () => {
    const empty = { ...head, size: 0, root: emptyRoot };
    expect(parseCheckpoint(formatCheckpoint(empty))).toEqual(empty);
  });
});

describe("cosignatures", () => {
  const witness = newSigner("witness.example/w1");
  const witnessKey = verifierKeyOf(witness, signatureType.cosignatureV1);
  const note = signCheckpoint(head, signer);
  const { text } = parseNote(note);
  const cosigned = addSignatures(note, [cosign(text, witness, 1_700_000_000)]);
  const trust = { origin: signer.name, keys: [key], witnesses: [witnessKey], quorum: 1 };

  it("by a known witness fill the quorum and carry their time", () => {
    expect(openCheckpoint(cosigned, trust).cosignatures).toEqual([{ witness: witnessKey, timestamp: 1_700_000_000 }]);
  });

  it("missing, or by an unknown witness, leave the quorum unfilled", () => {
    refused(() => openCheckpoint(note, trust));
    const other = addSignatures(note, [cosign(text, newSigner("witness.example/w1"), 1)]);
    refused(() => openCheckpoint(other, trust));
  });

  it("with any bit flipped are refused", () => {
    const good = cosign(text, witness, 1_700_000_000);
    for (let bit = 0; bit < good.signature.length * 8; bit++) {
      const bad = { ...good, signature: flipBit(good.signature, bit) };
      refused(() => openCheckpoint(addSignatures(note, [bad]), trust));
    }
  });

  it("by one key under two names count once", () => {
    const alias = { ...witness, name: "witness.example/w2" };
    const both = addSignatures(cosigned, [cosign(text, alias, 1_700_000_000)]);
    const witnesses = [witnessKey, verifierKeyOf(alias, signatureType.cosignatureV1)];
    expect(verifyCosignatures(parseNote(both), witnesses)).toHaveLength(1);
    refused(() => openCheckpoint(both, { ...trust, witnesses, quorum: 2 }));
  });

  it("never stand in for the log's own signature", () => {
    const alone = `${text}\n${cosigned.split("\n").at(-2)}\n`;
    refused(() => openCheckpoint(alone, trust));
    refused(() => openCheckpoint(alone, { ...trust, keys: [witnessKey] }));
  });
});
