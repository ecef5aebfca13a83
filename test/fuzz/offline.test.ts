/** What an offline verifier is given may be anything: it answers with a typed refusal, and takes only what it took before. */
import { createPublicKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  AttestationError,
  decodeEnvelopeJson,
  decodeStatement,
  loadTrustBundle,
  verifyReleaseTicket,
} from "@sallyport/attestation";
import { encodeReceipt } from "@sallyport/cli";
import { leafHash, openCheckpoint, parseProof, TlogError, verifierKeyOf, verifyProof } from "@sallyport/tlog";
import fc, { type Arbitrary } from "fast-check";
import { afterAll, describe, expect, test, vi } from "vitest";
import { makeHome, origin, proofOf, record, sallyport, signer } from "../../packages/cli/tests/kit.ts";
import { makeTicket } from "../../packages/cli/tests/ticket.ts";
import { campaign, rounds } from "./support/campaign.ts";
import { anyText, bent, damaged, oddJson } from "./support/text.ts";

vi.setConfig({ testTimeout: 60_000 * rounds });

const ticket = makeTicket();
const root = createPublicKey(ticket.root);
const at = new Date(ticket.at);
const trust = loadTrustBundle(ticket.bundle, root, at);
const text = (bytes: Uint8Array | string) => Buffer.from(bytes).toString("utf8");
const statement = Buffer.from(JSON.parse(ticket.json).claim.payload, "base64");
const records = Array.from({ length: 9 }, (_, i) => record(`r-${i}`));
const proof = proofOf(records, 4);
const checkpoint = parseProof(proof).checkpoint;
const log = { origin, keys: [verifierKeyOf(signer, 1)] };

/** What is read, how it is varied, and who reads it. */
const targets: [string, string | Uint8Array, (input: Uint8Array) => unknown][] = [
  ["envelope", JSON.stringify(JSON.parse(ticket.json).claim), (input) => decodeEnvelopeJson(input)],
  ["statement", statement, (input) => decodeStatement(input)],
  ["trust bundle", ticket.bundle, (input) => loadTrustBundle(input, root, at)],
  ["ticket", ticket.json, (input) => verifyReleaseTicket(text(input), trust, { at })],
  ["checkpoint", checkpoint, (input) => openCheckpoint(input, log)],
  ["proof", proof, (input) => verifyProof(input, leafHash(records[4]!), log)],
];

function variations(good: Uint8Array): Arbitrary<Uint8Array> {
  const bytes = [damaged(good), fc.uint8Array({ maxLength: 300 }), oddJson.map((json) => Buffer.from(json))];
  const json = parsed(text(good));
  return json === undefined
    ? fc.oneof(...bytes)
    : fc.oneof(
        ...bytes,
        bent(json).map((bad) => Buffer.from(bad)),
      );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/**
 * The same value in other white space or order is the same; a text without a JSON meaning only byte for byte. Of a
 * receipt, which nobody signs, record and proof count.
 */
function means(input: string, good: string): boolean {
  const value = parsed(input);
  const essence = (json: unknown) => {
    const { record, proof } = Object(json) as Record<string, unknown>;
    return record === undefined ? json : { record, proof };
  };
  return value === undefined ? input === good : isDeepStrictEqual(essence(value), essence(parsed(good)));
}

describe("a verifier refuses with a typed error what it cannot vouch for", () => {
  test.each(targets)("%s", async (name, good, read) => {
    const outcome = (input: Uint8Array) => {
      try {
        read(input);
      } catch (error) {
        if (error instanceof AttestationError || error instanceof TlogError) return error.code;
        throw error;
      }
      // An envelope is only taken apart here: whether its signature is good is asked later.
      if (name !== "envelope" && name !== "statement") expect(means(text(input), text(good))).toBe(true);
      return "the same";
    };
    const tally = await campaign(name, variations(Buffer.from(good)), { cases: 1_000 }, outcome);
    expect(tally.size).toBeGreaterThan(1);
  });
});

describe("the command", () => {
  const home = makeHome();
  const folder = mkdtempSync(join(tmpdir(), "sallyport-fuzz-"));
  afterAll(() => {
    for (const path of [home, folder]) rmSync(path, { recursive: true, force: true });
  });
  const keep = (name: string, contents: string | Uint8Array) => {
    writeFileSync(join(folder, name), contents);
    return join(folder, name);
  };
  const given = ["--trust-bundle", keep("bundle", ticket.bundle), "--trust-root", keep("root", ticket.root)];
  const refused = [2, 7];

  test.each([
    ["ticket", ticket.json, (file: string) => ["ticket", "verify", file, ...given, "--at", ticket.at]],
    [
      "trust bundle",
      ticket.bundle,
      (file: string) => {
        const other = ["--trust-bundle", file, "--trust-root", join(folder, "root"), "--at", ticket.at];
        return ["ticket", "verify", keep("ticket", ticket.json), ...other];
      },
    ],
    ["receipt", encodeReceipt({ record: records[4]!, proof }), (file: string) => ["audit", "verify", file]],
  ])("refuses a bad %s with exit code 7 or 2", async (name, good, args) => {
    const run = async (input: Uint8Array) => {
      const { exitCode, out, err } = await sallyport(home, ...args(keep(name.replace(" ", "-"), input)));
      if (exitCode === 0) expect(means(text(input), text(good))).toBe(true);
      else
        expect({ refused: refused.includes(exitCode), out, err: err.length > 10 }).toMatchObject({
          refused: true,
          out: "",
          err: true,
        });
      return `exit ${exitCode}`;
    };
    await campaign(`sallyport ${name}`, variations(Buffer.from(good)), { cases: 150 }, run);
  });

  test("tells of any record that a trusted log holds, whatever it says", async () => {
    const run = async (json: string) => {
      const odd = [Buffer.from(json)];
      const file = keep("odd", proofOf(odd, 0));
      const { exitCode } = await sallyport(home, "audit", "verify", file, "--record", keep("odd-record", odd[0]!));
      expect([0, ...refused]).toContain(exitCode);
      return `exit ${exitCode}`;
    };
    const records = fc.oneof(oddJson, bent(JSON.parse(text(record("r")))));
    await campaign("sallyport odd records", records, { cases: 100 }, run);
  });

  test("takes any words on its command line for wrong usage", async () => {
    const words = fc.oneof(
      anyText,
      fc.constantFrom(
        "ticket",
        "audit",
        "verify",
        "--json",
        "--record",
        "--at",
        "--partial",
        "--",
        "-",
        "__proto__",
        "/",
      ),
    );
    const run = async (rest: string[]) => {
      const { exitCode } = await sallyport(
        home,
        rest[0] === "ticket" ? "ticket" : "audit",
        "verify",
        ...rest,
        "/nonexistent",
      );
      expect([0, 2, 7]).toContain(exitCode);
      return `exit ${exitCode}`;
    };
    await campaign("sallyport words", fc.array(words, { maxLength: 5 }), { cases: 100 }, run);
  });
});
