import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustBundle, keyIdOf } from "@sallyport/attestation";
import {
  append,
  emptyFrontier,
  encodeProof,
  formatVkey,
  type Hash,
  inclusionProof,
  leafHash,
  rootOf,
  signatureType,
  signCheckpoint,
  verifierKeyOf,
} from "@sallyport/tlog";
import { type ExitCode, run } from "../src/index.ts";

export interface Ran {
  exitCode: ExitCode;
  out: string;
  err: string;
}

/** Runs a command line in this process. */
export async function sallyport(home: string, ...args: string[]): Promise<Ran> {
  let [out, err] = ["", ""];
  const exitCode = await run(["--home", home, ...args], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    readIn: async () => "from standard input",
    env: {},
    signal: new AbortController().signal,
  });
  return { exitCode, out, err };
}

export const origin = "sallyport.local/log";
const root = generateKeyPairSync("ed25519");
const log = generateKeyPairSync("ed25519");
export const signer = { name: origin, privateKey: log.privateKey };

/** A home as the local runner lays it out, as far as the command reads it. */
export function makeHome(endpoints: Record<string, unknown> = {}): string {
  const home = mkdtempSync(join(tmpdir(), "sallyport-cli-"));
  mkdirSync(join(home, "credentials"));
  for (const name of ["user", "reviewer", "operator", "approver", "auditor"]) {
    writeFileSync(join(home, "credentials", `${name}.token`), `token-of-${name}\n`);
  }
  const service = generateKeyPairSync("ed25519");
  const soon = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  const bundle = createTrustBundle(
    {
      version: 1,
      issuedAt: soon(-1),
      expiresAt: soon(10),
      keys: [
        {
          keyid: keyIdOf(service.publicKey),
          service: "pre-moderator",
          stages: ["door1"],
          publicKey: service.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
          notBefore: soon(-1),
          notAfter: soon(10),
        },
      ],
      encryption: [],
      logs: [{ origin, vkey: formatVkey(verifierKeyOf(signer, signatureType.ed25519)) }],
    },
    root.privateKey,
  );
  writeFileSync(join(home, "trust.json"), bundle);
  writeFileSync(join(home, "root.pub"), createPublicKey(root.privateKey).export({ type: "spki", format: "pem" }));
  const files = { ca: "ca.crt", trustBundle: "trust.json", trustRoot: "root.pub" };
  writeFileSync(join(home, "endpoints.json"), JSON.stringify({ ...files, health: {}, ...endpoints }));
  return home;
}

export function record(requestId: string): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify({
      decision: { code: "OK", decision: "allow", stage: "door2" },
      event: "request.released",
      producer: "gateway",
      request: { id: requestId },
      sequence: 1,
      time: "2026-11-23T15:00:00.000Z",
      v: 1,
    }),
  );
}

/** Proof of `records[index]` in a log of these records, signed by `by`. */
export function proofOf(records: readonly Uint8Array[], index: number, by = signer): string {
  const levels = new Map<string, Hash>();
  let frontier = emptyFrontier;
  for (const entry of records) {
    const step = append(frontier, leafHash(entry));
    for (const node of step.closed) levels.set(`${node.level}/${node.index}`, node.hash);
    frontier = step.frontier;
  }
  const read = (level: number, at: number) => levels.get(`${level}/${at}`)!;
  const hashes = inclusionProof(index, records.length, read);
  const checkpoint = { origin: by.name, size: records.length, root: rootOf(frontier), extensions: [] };
  return encodeProof({ index, hashes, checkpoint: signCheckpoint(checkpoint, by) });
}
