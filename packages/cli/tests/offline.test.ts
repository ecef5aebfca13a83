import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { ChatContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { expect, test } from "vitest";
import { encodeReceipt } from "../src/index.ts";
import { makeHome, proofOf, record, sallyport, signer } from "./kit.ts";
import { makeTicket } from "./ticket.ts";

const home = makeHome();
const records = Array.from({ length: 300 }, (_, i) => record(`r-${i}`));
let files = 0;
function keep(contents: string | Uint8Array): string {
  files += 1;
  const path = join(home, `file-${files}`);
  writeFileSync(path, contents);
  return path;
}

test("a receipt is verified without a network, and tells what it proves", async () => {
  const file = keep(encodeReceipt({ record: records[77]!, proof: proofOf(records, 77) }));
  const text = await sallyport(home, "audit", "verify", file);
  expect(text).toMatchObject({ exitCode: 0, err: "" });
  expect(text.out).toContain("request.released");
  expect(text.out).toContain("verified: record 77 of the log sallyport.local/log, which then held 300 records");
  const json = JSON.parse((await sallyport(home, "--json", "audit", "verify", file)).out);
  expect(json).toMatchObject({ verified: true, index: 77, size: 300, record: { request: { id: "r-77" } } });
});

test("a bare proof is verified with the record beside it", async () => {
  const proof = keep(proofOf(records, 5));
  expect((await sallyport(home, "audit", "verify", proof, "--record", keep(records[5]!))).exitCode).toBe(0);
  expect((await sallyport(home, "audit", "verify", proof, "--record", keep(records[6]!))).exitCode).toBe(7);
  expect((await sallyport(home, "audit", "verify", proof)).exitCode).toBe(2);
});

test("every single altered byte of a receipt is noticed", async () => {
  const receipt = encodeReceipt({ record: records[3]!, proof: proofOf(records.slice(0, 5), 3) });
  let accepted = 0;
  for (let at = 0; at < receipt.length; at += 1) {
    // The other case of a letter, the next digit: what a person could alter without breaking the JSON.
    const char = receipt[at]!;
    const other = /[a-z]/i.test(char)
      ? String.fromCharCode(char.charCodeAt(0) ^ 0x20)
      : String((Number(char) + 1) % 10);
    if (other === char || !/[a-z0-9]/i.test(char)) continue;
    const altered = keep(receipt.slice(0, at) + other + receipt.slice(at + 1));
    const { exitCode } = await sallyport(home, "audit", "verify", altered);
    if (exitCode !== 7 && exitCode !== 2) accepted += 1;
  }
  expect(accepted).toBe(0);
});

test("another log's key, another log's name and a bundle of another root are refused", async () => {
  const stranger = { ...signer, privateKey: generateKeyPairSync("ed25519").privateKey };
  const elsewhere = { ...stranger, name: "example.org/log" };
  for (const by of [stranger, elsewhere]) {
    const file = keep(encodeReceipt({ record: records[0]!, proof: proofOf(records, 0, by) }));
    expect((await sallyport(home, "audit", "verify", file)).exitCode).toBe(7);
  }
  const good = keep(encodeReceipt({ record: records[0]!, proof: proofOf(records, 0) }));
  const otherRoot = keep(generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }));
  const trust = ["--trust-bundle", join(home, "trust.json"), "--trust-root"];
  expect((await sallyport(home, "audit", "verify", good, ...trust, join(home, "root.pub"))).exitCode).toBe(0);
  expect((await sallyport(home, "audit", "verify", good, ...trust, otherRoot)).exitCode).toBe(7);
  expect((await sallyport(home, "audit", "verify", good, "--trust-root", otherRoot)).exitCode).toBe(2);
});

test("with bundle and root given, no platform's home is needed", async () => {
  const file = keep(encodeReceipt({ record: records[0]!, proof: proofOf(records, 0) }));
  const trust = ["--trust-bundle", join(home, "trust.json"), "--trust-root", join(home, "root.pub")];
  expect((await sallyport("/nonexistent", "audit", "verify", file, ...trust)).exitCode).toBe(0);
  expect((await sallyport("/nonexistent", "audit", "verify", file)).exitCode).toBe(6);
});

test("a ticket proves who released which bytes; altered or cut off it proves nothing", async () => {
  const ticket = makeTicket();
  const trust = ["--trust-bundle", keep(ticket.bundle), "--trust-root", keep(ticket.root), "--at", ticket.at];
  const good = await sallyport("/nonexistent", "--json", "ticket", "verify", keep(ticket.json), ...trust);
  expect(good.exitCode).toBe(0);
  expect(JSON.parse(good.out)).toMatchObject({ verified: true, outcome: "complete", windows: 3, bytes: 13 });
  const altered = ticket.json.replace(ticket.content, Buffer.from("ONE ").toString("base64"));
  expect(altered).not.toBe(ticket.json);
  for (const [json, ...more] of [[altered], [ticket.cut], [ticket.json, "--at", "2030-01-01T00:00:00Z"]]) {
    const refused = await sallyport("/nonexistent", "ticket", "verify", keep(json!), ...trust, ...more);
    expect(refused).toMatchObject({ exitCode: 7, out: "" });
  }
  expect((await sallyport("/nonexistent", "ticket", "verify", keep(ticket.cut), "--partial", ...trust)).exitCode).toBe(
    0,
  );
});

test("a ticket answers the request that was sent, also one that door 1 changed, and no other", async () => {
  const request = { content: { model: "m", messages: [{ role: "ROLE_USER", content: "my key is 1234" }] } };
  const sent = toBinary(ChatContentSchema, fromJson(ChatContentSchema, request.content));
  const ticket = makeTicket({ admission: "sanitise", sent });
  const trust = ["--trust-bundle", keep(ticket.bundle), "--trust-root", keep(ticket.root), "--at", ticket.at];
  const verify = (file: string) =>
    sallyport("/nonexistent", "--json", "ticket", "verify", keep(ticket.json), ...trust, "--request", file);
  for (const file of [keep(sent), keep(JSON.stringify(request))]) {
    const { exitCode, out } = await verify(file);
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ verified: true, requestSanitised: true });
  }
  const other = { content: { ...request.content, messages: [{ role: "ROLE_USER", content: "another" }] } };
  expect((await verify(keep(JSON.stringify(other)))).exitCode).toBe(7);
  for (const nonsense of ["{}", "{", '{"content":7}']) expect((await verify(keep(nonsense))).exitCode).toBe(2);
});

test("what is no ticket does not verify, and says so", async () => {
  for (const contents of ["", "{}", "[]", '{"requestId":"r"}', "\u0000"]) {
    const { exitCode, out, err } = await sallyport(home, "ticket", "verify", keep(contents));
    expect({ exitCode, out }).toEqual({ exitCode: 7, out: "" });
    expect(err).toContain("not verified");
  }
});

test.each([
  [["nonsense"]],
  [["chat"]],
  [["receipt", "../etc"]],
  [["request", "get", ""]],
  [["model", "approve", "xyz", "--justification", "because"]],
  [["model", "approve", "0".repeat(64)]],
  [["model", "import", "/nonexistent", "--name", "n", "--version", "1"]],
  [["model", "import", "--name", "n", "--version", "1", "--licence", "MIT", "--card", "/nonexistent"]],
  [["model", "import", "/nonexistent", "--name", "n", "--version", "1", "--licence", "MIT", "--card", "/nonexistent"]],
  [
    [
      "model",
      "import",
      "--engine",
      "remote",
      "--name",
      "n",
      "--version",
      "1",
      "--licence",
      "MIT",
      "--card",
      "/nonexistent",
    ],
  ],
  [["review", "decide", "r-1", "--decision", "maybe", "--justification", "because"]],
  [["audit", "tail", "--last", "-5"]],
  [["audit", "verify", "/nonexistent"]],
  [["models", "--as", "../user"]],
  [["audit", "verify", "x", "--at", "yesterday"]],
  [["--timeout", "soon", "models"]],
])("wrong usage is exit code 2, with a word on what is wrong: %j", async (args) => {
  const { exitCode, out, err } = await sallyport(home, ...args);
  expect({ exitCode, out }).toEqual({ exitCode: 2, out: "" });
  expect(err.length).toBeGreaterThan(10);
});

test("help of every command exits with 0", async () => {
  for (const args of [[], ["chat"], ["model", "import"], ["audit", "verify"], ["ticket", "verify"]]) {
    const { exitCode, out } = await sallyport(home, ...args, "--help");
    expect(exitCode).toBe(0);
    expect(out).toContain("Usage:");
  }
});

test("without the platform it is exit code 6, without the credential 5; with --json the failure is JSON", async () => {
  const missing = await sallyport("/nonexistent", "--json", "models");
  expect(missing.exitCode).toBe(5);
  expect(JSON.parse(missing.err)).toMatchObject({ error: { code: "UNAUTHENTICATED", reason: "TOKEN_MISSING" } });
  expect((await sallyport("/nonexistent", "status")).exitCode).toBe(6);
});

test.each(["null", "7", "[]", '"text"', '{"time":{"toString":1},"request":null,"decision":{"code":[]}}'])(
  "a record that a trusted log should not hold is no crash: %s",
  async (json) => {
    const odd = [Buffer.from(json)];
    const { exitCode, err } = await sallyport(
      home,
      "audit",
      "verify",
      keep(proofOf(odd, 0)),
      "--record",
      keep(odd[0]!),
    );
    expect(exitCode).toBe(json.startsWith("{") ? 0 : 7);
    expect(err).toContain(json.startsWith("{") ? "" : "not verified: the record is not a JSON object");
  },
);
