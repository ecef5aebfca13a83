/** Installations that are broken in one way each: the doctor has to name just that. */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustBundle, keyIdOf } from "@sallyport/attestation";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { issueLeaf } from "../certificates.ts";
import { ensureIssuerFiles } from "../dev-issuer/clients.ts";
import { diskFindings } from "../doctor/home.ts";
import { examine, type Finding } from "../doctor/index.ts";
import { clockFindings, skewOf } from "../doctor/services.ts";
import { endpointsOf, writeEndpoints } from "../endpoints.ts";
import { type Home, homeAt, openHome } from "../home.ts";
import { seedFile } from "../nats/config.ts";
import { PROVISIONER } from "../nats/permissions.ts";
import { certificateFiles, ensureCertificates, spiffeId } from "../pki.ts";
import { portsFrom } from "../ports.ts";
import { passwordFile, SUPERUSER } from "../postgres/cluster.ts";
import { encryptionKeyFile, ensureTrust, signingKeyFile, trustFiles } from "../trust.ts";

const dayMs = 86_400_000;
const portBase = 31_500;
const root = mkdtempSync(join(tmpdir(), "sallyport-doctor-"));
const sound = join(root, "sound");
let home: Home;
let count = 0;

beforeAll(async () => {
  const made = openHome(sound);
  await ensureCertificates(made, new Date());
  ensureTrust(made, new Date());
  ensureIssuerFiles(made);
  seedFile(made, PROVISIONER);
  passwordFile(made, SUPERUSER);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Each test breaks a copy of its own. */
beforeEach(() => {
  const copy = join(root, `broken-${count++}`);
  // With modes, unlike cpSync.
  execFileSync("cp", ["-a", sound, copy]);
  home = homeAt(copy);
  writeEndpoints(home, endpointsOf(home, portsFrom(portBase)));
});

const faults = (findings: readonly Finding[]) => findings.filter(({ level }) => level === "fail" || level === "warn");
const put = (file: string, pem: string | Buffer) => writeFileSync(file, pem, { mode: 0o600 });
const newKey = (type: "ed25519" | "x25519") => {
  const pair = type === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("x25519");
  return pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
};

test("a sound installation that is down: nothing to mend, and what could not be looked at is said", async () => {
  const findings = await examine(home.root);
  expect(faults(findings)).toEqual([]);
  const unknown = findings.filter(({ level }) => level === "unknown").map(({ check }) => check);
  expect(unknown).toEqual(expect.arrayContaining(["services", "bus", "database", "issuer", "log", "chamber"]));
  for (const finding of findings) expect(finding.what).not.toContain("\n");
});

test("a home that is not there is the only finding", async () => {
  expect(faults(await examine(join(root, "nowhere")))).toMatchObject([{ check: "home", level: "fail" }]);
});

describe("each of these is found, by name, with what to do, and nothing else is blamed", () => {
  test.each<[string, string, RegExp, () => unknown]>([
    [
      "a folder of keys that others may enter",
      "permissions",
      /keys is open to others \(0755\)/,
      () => chmodSync(home.keysDir, 0o755),
    ],
    [
      "a private key that others may read",
      "permissions",
      /keys\/audit\.signing\.pem is open to others \(0644\)/,
      () => chmodSync(signingKeyFile(home, "audit"), 0o644),
    ],
    [
      "a password that the group may read",
      "permissions",
      /secrets\/postgres-sallyport_owner is open to others \(0640\)/,
      () => chmodSync(passwordFile(home, SUPERUSER), 0o640),
    ],
    [
      "an expired certificate",
      "certificates",
      /certificate of gateway expired/,
      () => leaf("gateway", "gateway", new Date(Date.now() - 500 * dayMs)),
    ],
    [
      "a certificate that ends soon",
      "certificates",
      /certificate of nats ends on/,
      () => leaf("nats", "nats", new Date(Date.now() - 360 * dayMs)),
    ],
    [
      "a certificate for another service",
      "certificates",
      /certificate of audit is not for spiffe:\/\/sallyport\.local\/audit/,
      () => leaf("audit", "governance", new Date()),
    ],
    [
      "a certificate that does not belong to its key",
      "certificates",
      /certificate of watermarker does not belong to its key/,
      () => copyFileSync(certificateFiles(home, "gateway").key, certificateFiles(home, "watermarker").key),
    ],
    [
      "a certificate that is gone",
      "certificates",
      /certificate of postgres or its key is not there/,
      () => rmSync(certificateFiles(home, "postgres").cert),
    ],
    ["a trust bundle with one byte changed", "trust bundle", /it is refused/, () => tamper(trustFiles(home).bundle)],
    ["a bundle and a root that somebody else made", "trust bundle", /root\.pub is not the operator's key/, forgeRoot],
    [
      "a signing key that is not the appointed one",
      "keys",
      /the key of post-moderator may not sign for door2/,
      () => put(signingKeyFile(home, "post-moderator"), newKey("ed25519")),
    ],
    [
      "an encryption key that is not the appointed one",
      "keys",
      /the key of audit for encryption is not the appointed one/,
      () => put(encryptionKeyFile(home, "audit"), newKey("x25519")),
    ],
    [
      "another key for the log",
      "keys",
      /the key of the log is not the one/,
      () => put(signingKeyFile(home, "audit"), newKey("ed25519")),
    ],
    ["a model file that was altered", "models", /is not what its name says/, alteredModel],
    ["no addresses", "home", /endpoints\.json is not there/, () => rmSync(home.endpointsFile)],
    [
      "no credentials for the bus",
      "bus",
      /nats-provisioner\.nk is not there/,
      () => rmSync(seedFile(home, PROVISIONER)),
    ],
  ])("%s", async (_, check, what, damage) => {
    await damage();
    const found = faults(await examine(home.root));
    expect(
      found
        .filter((finding) => finding.check === check)
        .map((finding) => finding.what)
        .join("\n"),
    ).toMatch(what);
    expect(new Set(found.map((finding) => finding.check))).toEqual(new Set([check]));
    for (const { mend } of found) expect(mend).toMatch(/\w+ \w+/);
  });

  test("an authority of somebody else: every certificate is foreign", async () => {
    const other = openHome(join(root, "other"));
    await ensureCertificates(other, new Date());
    copyFileSync(join(other.pkiDir, "ca.crt"), join(home.pkiDir, "ca.crt"));
    const found = faults(await examine(home.root));
    expect(found.length).toBeGreaterThan(6);
    expect(found.every(({ check, what }) => check === "certificates" && what.includes("not by this"))).toBe(true);
  });

  test("an expired bundle", async () => {
    const found = faults(await examine(home.root, new Date(Date.now() + 366 * dayMs)));
    expect(found.find(({ check }) => check === "trust bundle")).toMatchObject({ level: "fail", what: /expired/ });
  });

  test("a port that another program has", async () => {
    const sockets = new Set<Socket>();
    // It says nothing: whoever asks must not wait for ever.
    const server = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(portBase + 12, "127.0.0.1", resolve));
    try {
      const found = faults(await examine(home.root));
      expect(found.map(({ check }) => check)).toEqual(["ports"]);
      expect(found[0]!.what).toContain(`${portBase + 12} (postgres) is taken by`);
      expect(found[0]!.what).toContain(`process ${process.pid}`);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

test("a disk that runs full warns, then fails", () => {
  const mebibyte = 1024 * 1024;
  expect(diskFindings(10_000 * mebibyte)).toMatchObject([{ level: "ok" }]);
  expect(diskFindings(1_000 * mebibyte)).toMatchObject([{ level: "warn" }]);
  expect(diskFindings(100 * mebibyte)).toMatchObject([{ level: "fail" }]);
});

test("a clock that is off by more than statements may be fails, whatever the resolution of a Date header", () => {
  const at = Date.parse("2026-11-23T15:00:00Z");
  expect(skewOf("Mon, 23 Nov 2026 15:00:00 GMT", at + 999, at + 1_000)).toBe(0);
  expect(skewOf("Mon, 23 Nov 2026 15:00:20 GMT", at, at)).toBe(20_000);
  expect(skewOf("Mon, 23 Nov 2026 14:59:40 GMT", at, at)).toBe(19_000);
  expect(skewOf(null, at, at)).toBeUndefined();
  const of = (skewMs: number) => clockFindings([{ name: "audit", skewMs }]);
  expect(of(0)).toMatchObject([{ level: "ok" }]);
  expect(of(3_000)).toMatchObject([{ level: "warn" }]);
  expect(of(6_000)).toMatchObject([{ level: "fail", what: /clock of audit is off by 6\.0 s/ }]);
});

function leaf(holder: "gateway" | "nats" | "audit", claims: string, from: Date): Promise<void> {
  return issueLeaf(certificateFiles(home, holder), join(home.operatorDir, "ca.key"), holder, spiffeId(claims), from);
}

function tamper(file: string): void {
  const bundle = JSON.parse(readFileSync(file, "utf8")) as { payload: string };
  const payload = Buffer.from(bundle.payload, "base64").toString("utf8").replace('"version":1', '"version":2');
  writeFileSync(file, JSON.stringify({ ...bundle, payload: Buffer.from(payload).toString("base64") }));
}

function forgeRoot(): void {
  const { bundle, root: rootFile } = trustFiles(home);
  const forger = generateKeyPairSync("ed25519");
  const { payload } = JSON.parse(readFileSync(bundle, "utf8")) as { payload: string };
  const contents = JSON.parse(Buffer.from(payload, "base64").toString("utf8"));
  writeFileSync(bundle, createTrustBundle(contents, forger.privateKey));
  writeFileSync(rootFile, forger.publicKey.export({ type: "spki", format: "pem" }));
  expect(keyIdOf(forger.publicKey)).not.toBe("");
}

function alteredModel(): void {
  const dir = join(home.modelsDir, "sha256");
  mkdirSync(dir, { recursive: true });
  const name = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  writeFileSync(join(dir, name), "hello");
  appendFileSync(join(dir, name), "!");
}
