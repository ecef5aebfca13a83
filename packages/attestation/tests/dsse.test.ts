import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  createSigner,
  decodeEnvelopeJson,
  type Envelope,
  encodeEnvelopeJson,
  envelopeDigest,
  keyIdOf,
  MAX_PAYLOAD_BYTES,
  preAuthEncoding,
  signEnvelope,
  verifyEnvelope,
} from "../src/index.ts";

const TYPE = "application/vnd.example+json";
const utf8 = (text: string) => new TextEncoder().encode(text);
const pair = generateKeyPairSync("ed25519");
const signer = createSigner(pair.privateKey, "door1");
const resolve = (keyid: string) => (keyid === signer.keyid ? pair.publicKey : undefined);
const signed = (payload = utf8("{}")) => signEnvelope(TYPE, payload, signer);
const refusal = (envelope: Envelope, type = TYPE) => {
  try {
    verifyEnvelope(envelope, type, resolve);
    return "accepted";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe("DSSE encoding", () => {
  // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md#test-vectors
  test("gives the specification's PAE, and its signature fits that PAE", () => {
    const pae = preAuthEncoding("http://example.com/HelloWorld", utf8("hello world"));
    expect(Buffer.from(pae).toString()).toBe("DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    const coordinate = (decimal: string) =>
      Buffer.from(BigInt(decimal).toString(16).padStart(64, "0"), "hex").toString("base64url");
    const x = coordinate("46950820868899156662930047687818585632848591499744589407958293238635476079160");
    const y = coordinate("5640078356564379163099075877009565129882514886557779369047442380624545832820");
    const key = createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
    const envelope = decodeEnvelopeJson(`{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld",
      "signatures": [{"keyid": "example", "sig":
      "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}`);
    const { sig } = envelope.signatures[0]!;
    const encoded = preAuthEncoding(envelope.payloadType, envelope.payload);
    expect(verify("sha256", encoded, { key, dsaEncoding: "ieee-p1363" }, sig)).toBe(true);
  });

  test("counts bytes, not characters", () => {
    const pae = Buffer.from(preAuthEncoding("é", utf8("😀"))).toString();
    expect(pae).toBe("DSSEv1 2 é 4 😀");
  });

  test("signs with plain Ed25519 (RFC 8032, test 1)", () => {
    const seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const der = Buffer.from(`302e020100300506032b657004220420${seed}`, "hex");
    const vector = createSigner(createPrivateKey({ key: der, format: "der", type: "pkcs8" }), "door1");
    expect(Buffer.from(vector.sign(new Uint8Array())).toString("hex")).toBe(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
  });

  test("names a key by the first 128 bits of its SPKI's SHA-256", () => {
    const spki = pair.publicKey.export({ type: "spki", format: "der" });
    expect(keyIdOf(pair.publicKey)).toBe(createHash("sha256").update(spki).digest("hex").slice(0, 32));
  });
});

describe("DSSE verification", () => {
  test("accepts what was signed, also after a way through JSON", () => {
    expect(refusal(signed())).toBe("accepted");
    expect(decodeEnvelopeJson(encodeEnvelopeJson(signed()))).toEqual(signed());
  });

  test("takes URL-safe base64 as the specification asks", () => {
    const bytes = new Uint8Array([251, 255, 254]);
    const json = encodeEnvelopeJson(signed(bytes)).replace("+//+", "-__-");
    expect(json).toContain("-__-");
    expect(decodeEnvelopeJson(json).payload).toEqual(bytes);
  });

  test("refuses no signature, two signatures, a stranger's, another type, another payload, an oversized one", () => {
    const good = signed();
    const [signature] = good.signatures;
    expect(refusal({ ...good, signatures: [] })).toBe("SIGNATURE_COUNT");
    expect(refusal({ ...good, signatures: [signature!, signature!] })).toBe("SIGNATURE_COUNT");
    expect(refusal({ ...good, signatures: [{ ...signature!, keyid: "0".repeat(32) }] })).toBe("UNKNOWN_KEY");
    expect(refusal({ ...good, signatures: [{ ...signature!, sig: signature!.sig.slice(1) }] })).toBe("BAD_SIGNATURE");
    expect(refusal(good, "application/vnd.other+json")).toBe("PAYLOAD_TYPE");
    expect(refusal({ ...good, payload: utf8("[]") })).toBe("BAD_SIGNATURE");
    expect(refusal({ ...good, payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) })).toBe("PAYLOAD_TOO_LARGE");
    expect(() => signed(new Uint8Array(MAX_PAYLOAD_BYTES + 1))).toThrow(/at most/);
    expect(refusal(undefined as unknown as Envelope)).toBe("ENVELOPE_INVALID");
  });

  test("keeps the digest of a statement that is signed again, by whatever key", () => {
    const other = createSigner(generateKeyPairSync("ed25519").privateKey, "door1");
    const again = signEnvelope(TYPE, utf8("{}"), other);
    expect(again.signatures).not.toEqual(signed().signatures);
    expect(envelopeDigest(again)).toBe(envelopeDigest(signed()));
    expect(envelopeDigest(signEnvelope(TYPE, utf8("[]"), signer))).not.toBe(envelopeDigest(signed()));
  });

  test.each(["", "null", "[]", "{}", '{"payloadType":"a","payload":"!","signatures":[]}', '{"payload":1}'])(
    "refuses a file that is no envelope: %j",
    (json) => {
      expect(() => decodeEnvelopeJson(json)).toThrow(expect.objectContaining({ code: "ENVELOPE_INVALID" }));
    },
  );
});
