import type { Envelope } from "./dsse.ts";
import { AttestationError } from "./errors.ts";
import { decodeBase64, encodeBase64 } from "./json.ts";
import { array, object, type Reader, text } from "./readers.ts";

/** The JSON form of a DSSE envelope: `{payloadType, payload: base64, signatures: [{keyid, sig: base64}]}`. */
export interface EnvelopeJson {
  payloadType: string;
  payload: string;
  signatures: { keyid: string; sig: string }[];
}

const base64: Reader<Uint8Array> = (value, field) => {
  if (typeof value !== "string") throw new AttestationError("ENVELOPE_INVALID", `${field} must be base64`, { field });
  // DSSE: "either standard or URL-safe base64 encodings are allowed", and verifiers must accept both.
  return decodeBase64(value.replaceAll("-", "+").replaceAll("_", "/"), field);
};

/** Shape only; whether the one signature is good is verifyEnvelope's question. */
export const envelopeReader: Reader<Envelope> = object({
  payloadType: text(/^[\x21-\x7e]{1,128}$/),
  payload: base64,
  signatures: array(object({ keyid: text(/^[\x21-\x7e]{1,128}$/), sig: base64 }), 0, 8),
});

export function envelopeToJson(envelope: Envelope): EnvelopeJson {
  return {
    payloadType: envelope.payloadType,
    payload: encodeBase64(envelope.payload),
    signatures: envelope.signatures.map(({ keyid, sig }) => ({ keyid, sig: encodeBase64(sig) })),
  };
}

export function encodeEnvelopeJson(envelope: Envelope): string {
  return JSON.stringify(envelopeToJson(envelope));
}

/** Throws ENVELOPE_INVALID. The outer JSON need not be canonical: only the payload is signed. */
export function decodeEnvelopeJson(json: string | Uint8Array): Envelope {
  try {
    const source = typeof json === "string" ? json : new TextDecoder("utf-8", { fatal: true }).decode(json);
    return envelopeReader(JSON.parse(source), "");
  } catch (cause) {
    const detail = cause instanceof AttestationError ? `: ${cause.message}` : "";
    throw new AttestationError("ENVELOPE_INVALID", `this is not a DSSE envelope in JSON${detail}`, { cause });
  }
}
