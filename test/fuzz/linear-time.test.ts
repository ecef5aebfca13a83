/** Ten times the input takes about ten times as long, whatever it is: no parser of requests or evidence can be made to stall. */
import { createPublicKey } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import {
  canonicalBytes,
  decodeEnvelopeJson,
  loadTrustBundle,
  parseCanonical,
  verifyReleaseTicket,
} from "@sallyport/attestation";
import { parseReceipt } from "@sallyport/cli";
import { VerdictMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { ChatRequestSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { parseNote, parseProof } from "@sallyport/tlog";
import { expect, test } from "vitest";
import { makeTicket } from "../../packages/cli/tests/ticket.ts";
import { beyondLinear, fill, type Shape } from "../kit/linear.ts";

const ticket = makeTicket();

const root = createPublicKey(ticket.root);
const trust = loadTrustBundle(ticket.bundle, root, new Date(ticket.at));

/** Inputs of about `size` characters. */
const shapes: readonly Shape[] = [
  ["white space", (size) => fill(" ", size)],
  ["line breaks", (size) => fill("\n", size)],
  ["pairs of line breaks", (size) => fill("a\n\n", size)],
  ["openings", (size) => fill("[", size)],
  ["a nest", (size) => fill("[", size / 2) + fill("]", size / 2)],
  ["one long text", (size) => `{"payload":"${fill("A", size)}"}`],
  ["escapes", (size) => `["${fill("\\u0041", size)}"]`],
  ["backslashes", (size) => `["${fill("\\\\", size)}`],
  ["many members", (size) => `{${Array.from({ length: size / 14 }, (_, i) => `"k${i}":${i}`).join(",")}}`],
  ["one member again and again", (size) => `{${fill('"a":1,', size)}"a":1}`],
  ["forbidden names", (size) => `{${fill('"__proto__" ,', size)}`],
  ["signatures", (size) => `a\n\n${fill("— a AAAAAAAA\n", size)}`],
  ["base64", (size) => `c2sp.org/tlog-proof@v1\nextra ${fill("AAAA", size)}\nindex 1\n\na\n\n— a AAAAAAAA\n`],
  ["almost base64", (size) => `{"payloadType":"t","payload":"${fill("A=", size)}","signatures":[]}`],
  ["a bad end", (size) => `${fill("=", size)}!`],
];

const readers: [string, (text: string) => unknown][] = [
  ["canonical JSON", (text) => parseCanonical(Buffer.from(text))],
  ["canonical form", (text) => canonicalBytes(text)],
  ["envelope", (text) => decodeEnvelopeJson(text)],
  ["trust bundle", (text) => loadTrustBundle(text, root, new Date())],
  ["ticket", (text) => verifyReleaseTicket(text, trust)],
  ["receipt", (text) => parseReceipt(text)],
  ["note", (text) => parseNote(text)],
  ["proof", (text) => parseProof(text)],
  ["chat request", (text) => fromBinary(ChatRequestSchema, Buffer.from(text))],
  ["verdict", (text) => fromBinary(VerdictMessageSchema, Buffer.from(text))],
  ["nested groups", (text) => fromBinary(ChatRequestSchema, Buffer.alloc(text.length, 0x0b))],
  ["many fields", (text) => fromBinary(ChatRequestSchema, Buffer.alloc(text.length, Buffer.from([0xf8, 0x07, 1])))],
];

test.each(readers)(
  "%s",
  (_, read) => {
    expect(beyondLinear(read, shapes)).toEqual([]);
  },
  60_000,
);
