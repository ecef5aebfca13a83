import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clientCertificateFiles, DEMO_APP_ID, ensureClientCertificates } from "../client-certificates.ts";
import { type Home, openHome } from "../home.ts";
import { certificateFiles, ensureCertificates } from "../pki.ts";

const DAY_MS = 86_400_000;
const now = new Date();
let home: Home;
beforeAll(async () => {
  home = openHome(mkdtempSync(join(tmpdir(), "sallyport-callers-")));
  await ensureCertificates(home, now);
});
afterAll(() => rmSync(home.root, { recursive: true, force: true }));

const read = (file: string) => new X509Certificate(readFileSync(file));

test("callers have a CA of their own: no service's certificate is one of a caller, and none of theirs one of a service", async () => {
  expect(await ensureClientCertificates(home, now)).toEqual(["callers-ca", "demo-app"]);
  const files = clientCertificateFiles(home);
  const [app, callers, services] = [read(files.cert), read(files.ca), read(certificateFiles(home, "gateway").ca)];
  expect(app.verify(callers.publicKey)).toBe(true);
  expect(app.verify(services.publicKey)).toBe(false);
  expect(read(certificateFiles(home, "gateway").cert).verify(callers.publicKey)).toBe(false);
  expect(app.subjectAltName).toContain(`URI:${DEMO_APP_ID}`);
  expect(statSync(files.key).mode & 0o077).toBe(0);
});

test("nothing is issued while both are current; the certificate is renewed in time, under the same CA", async () => {
  await ensureClientCertificates(home, now);
  const before = read(clientCertificateFiles(home).ca).fingerprint256;
  expect(await ensureClientCertificates(home, now)).toEqual([]);
  expect(await ensureClientCertificates(home, new Date(now.getTime() + 340 * DAY_MS))).toEqual(["demo-app"]);
  expect(read(clientCertificateFiles(home).ca).fingerprint256).toBe(before);
});
