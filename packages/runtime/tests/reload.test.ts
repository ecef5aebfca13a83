import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustBundle, keyIdOf, type TrustContents } from "@sallyport/attestation";
import { PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { afterAll, describe, expect, test } from "vitest";
import {
  createClient,
  createLogger,
  loadSigner,
  loadTls,
  loadTrust,
  reloadFiles,
  serve,
  systemClock,
} from "../src/index.ts";
import { createTestCa, createTestPki, waitFor } from "../testing/index.ts";

const dir = mkdtempSync(join(tmpdir(), "sallyport-reload-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const path = (name: string) => join(dir, name);
const complaints: string[] = [];
const log = createLogger("test", "error", { write: (line) => void complaints.push(line) });

describe("files that are replaced while the service runs", () => {
  test("are loaded again, also when a mounted secret's link is swapped; one that does not load leaves the former in place", async () => {
    const swapTo = (contents: string) => {
      writeFileSync(path(`version ${contents}`), contents);
      symlinkSync(path(`version ${contents}`), path("next"));
      renameSync(path("next"), path("value"));
    };
    swapTo("1");
    using value = reloadFiles("vault", [path("value")], () => number(readFileSync(path("value"), "utf8")), log);
    const seen: number[] = [];
    value.onChange((next) => seen.push(next));
    swapTo("2");
    await waitFor("the second value", () => value.current === 2);
    swapTo("no number");
    await waitFor("a complaint", () => complaints.some((line) => line.includes("what was loaded before stays")));
    expect(value.current).toBe(2);
    swapTo("3");
    await waitFor("the third value", () => value.current === 3);
    expect(seen).toEqual([2, 3]);
  });

  test("a signer signs with the new key, and a trust bundle never goes back to an older version", async () => {
    const signing = path("signing.pem");
    writeFileSync(signing, newKey());
    const signer = loadSigner(signing, "door1", log);
    const before = signer.keyid;
    writeFileSync(signing, newKey());
    await waitFor("the new key", () => signer.keyid !== before);

    const root = generateKeyPairSync("ed25519");
    writeFileSync(path("root.pub"), root.publicKey.export({ type: "spki", format: "pem" }));
    const publish = (version: number) =>
      writeFileSync(path("trust.json"), createTrustBundle(appointing(signer.keyid, signing, version), root.privateKey));
    publish(2);
    const trust = loadTrust(path("trust.json"), path("root.pub"), systemClock, log);
    publish(3);
    await waitFor("the newer bundle", () => trust.version === 3);
    const told = complaints.length;
    publish(2);
    await waitFor("the refusal of the older bundle", () => complaints.length > told);
    expect(trust.version).toBe(3);
    expect(trust.serviceOf(signer.keyid)).toBe("pre-moderator");
  });

  test("a server and its callers take new certificates, of a new authority too, without ending a connection", async () => {
    using ca = await createTestCa();
    const serverTls = loadTls(await ca.issue("pre-moderator"), log);
    const callerTls = loadTls(await ca.issue("gateway"), log);
    await using server = await serve([{ service: PreModerationService, handlers }], {
      address: { host: "127.0.0.1", port: 0 },
      tls: serverTls,
      mutual: { allowedCallers: () => ["gateway"] },
      log,
    });
    const connect = (tls: Parameters<typeof createClient>[1]["tls"]) =>
      createClient(PreModerationService, { address: server.address, tls, serverName: "pre-moderator" });
    const soon = { deadlineMs: 3_000 };
    const [before, after] = [connect(callerTls), connect(callerTls)];
    await before.judgeRequest({}, soon);

    const next = await createTestPki("the next authority");
    // Both authorities are believed until everyone has a certificate of the next.
    writeFileSync(ca.caFile, `${ca.pki.ca}\n${next.ca}`);
    for (const service of ["pre-moderator", "gateway"]) {
      const { cert, key } = await next.issue(service);
      writeFileSync(join(ca.dir, `${service}.crt`), cert);
      writeFileSync(join(ca.dir, `${service}.key`), key);
    }
    const fresh = connect({ ...(await next.issue("gateway")), ca: next.ca });
    await waitFor("the server's new certificate", () =>
      fresh.judgeRequest({}, soon).then(
        () => true,
        () => false,
      ),
    );
    for (const client of [before, after]) await client.judgeRequest({}, soon);
    for (const client of [before, after, fresh]) client.close();
  });
});

const handlers = { judgeRequest: async () => ({}), judgeTexts: async () => ({}) };

function number(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error("no number");
  return Number(text);
}

function newKey(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
}

function appointing(keyid: string, file: string, version: number): TrustContents {
  const key = createPublicKey(readFileSync(file));
  expect(keyIdOf(key)).toBe(keyid);
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const publicKey = key.export({ type: "spki", format: "der" }).toString("base64");
  const entry = { keyid, service: "pre-moderator", stages: ["door1" as const], publicKey };
  const keys = [{ ...entry, notBefore: at(-60_000), notAfter: at(60_000) }];
  return { version, issuedAt: at(0), expiresAt: at(60_000), keys, encryption: [], logs: [] };
}
