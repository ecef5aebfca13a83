import { createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { keyIdOf, loadTrustBundle } from "@sallyport/attestation";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Home, openHome } from "../home.ts";
import { certificateFiles, ensureCertificates, spiffeId } from "../pki.ts";
import { ensureTrust, signingKeyFile, trustFiles } from "../trust.ts";

const DAY_MS = 86_400_000;
const now = new Date();
let dir: string;
let home: Home;
let stranger: Home;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "sallyport-pki-"));
  home = openHome(join(dir, "one"));
  stranger = openHome(join(dir, "two"));
  await Promise.all([ensureCertificates(home, now), ensureCertificates(stranger, now)]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function material(of: Home, holder: "gateway" | "audit") {
  const { cert, key, ca } = certificateFiles(of, holder);
  return { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
}

/** What the server saw of the client, or the error of either end. */
async function handshake(client: object, servername = "localhost"): Promise<string> {
  const server = createServer({ ...material(home, "audit"), requestCert: true, rejectUnauthorized: true });
  const seen = new Promise<string>((resolve) => {
    server.on("secureConnection", (socket: TLSSocket) => resolve(socket.getPeerCertificate().subjectaltname ?? ""));
    server.on("tlsClientError", (error) => resolve(`refused: ${error.message}`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", servername, ...client });
  const failed = new Promise<string>((resolve) => socket.on("error", (error) => resolve(`refused: ${error.message}`)));
  try {
    return await Promise.race([seen, failed]);
  } finally {
    socket.destroy();
    server.close();
  }
}

describe("certificates", () => {
  test("neighbours know each other by their SPIFFE id, in both directions", async () => {
    expect(await handshake(material(home, "gateway"))).toContain(`URI:${spiffeId("gateway")}`);
  });

  test("no client certificate, or one of another CA, is refused", async () => {
    expect(await handshake({ ca: material(home, "gateway").ca })).toMatch(/^refused/);
    const foreign = material(stranger, "gateway");
    expect(await handshake({ ...foreign, ca: material(home, "gateway").ca })).toMatch(/^refused/);
  });

  test("a server of another CA is refused", async () => {
    expect(await handshake(material(stranger, "gateway"))).toMatch(/^refused/);
  });

  test("a leaf cannot sign another certificate", () => {
    expect(new X509Certificate(material(home, "gateway").cert).ca).toBe(false);
  });

  test("nothing is issued while everything is current; what ends soon is renewed, under the same CA", async () => {
    expect(await ensureCertificates(home, now)).toEqual([]);
    const ca = material(home, "gateway").ca.toString();
    const issued = await ensureCertificates(home, new Date(now.getTime() + 340 * DAY_MS));
    expect(issued).toContain("gateway");
    expect(issued).not.toContain("ca");
    expect(material(home, "gateway").ca.toString()).toBe(ca);
  });

  test("private keys are for their owner alone; the CA's and the operator's lie with the operator", () => {
    expect(statSync(certificateFiles(home, "gateway").key).mode & 0o777).toBe(0o600);
    expect(statSync(home.operatorDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(home.operatorDir, "ca.key")).mode & 0o777).toBe(0o600);
    const { cert, key } = certificateFiles(home, "operator");
    expect([cert, key].map(dirname)).toEqual([home.operatorDir, home.operatorDir]);
    expect(statSync(key).mode & 0o777).toBe(0o600);
  });
});

describe("trust bundle", () => {
  const load = (at = now) =>
    loadTrustBundle(readFileSync(trustFiles(home).bundle), createPublicKey(readFileSync(trustFiles(home).root)), at);

  test("appoints each deciding service for its own stage, and the gateway and the log for none", () => {
    expect(ensureTrust(home, now)).toBe(true);
    const payload = JSON.parse(readFileSync(trustFiles(home).bundle, "utf8")).payload as string;
    const { keys } = JSON.parse(Buffer.from(payload, "base64").toString()) as {
      keys: { service: string; stages: string[] }[];
    };
    expect(Object.fromEntries(keys.map(({ service, stages }) => [service, stages.join("+")]))).toEqual({
      "pre-moderator": "door1",
      "inference-worker": "worker",
      watermarker: "watermarker",
      "post-moderator": "door2+countersign",
      governance: "review+state",
      operator: "switch",
    });
    expect(load().encryptionKey("inference-worker").kid).toMatch(/^inference-worker-/);
    const breakGlass = join(home.operatorDir, "break-glass.pem");
    expect(statSync(breakGlass).mode & 0o777).toBe(0o600);
    expect(load().serviceOf(keyIdOf(createPublicKey(readFileSync(breakGlass))))).toBe("operator");
  });

  test("stays as it is until its end or a key changes; then its version counts up and no key's beginning moves", () => {
    const first = load();
    expect(ensureTrust(home, now)).toBe(false);
    const later = new Date(now.getTime() + 340 * DAY_MS);
    expect(ensureTrust(home, later)).toBe(true);
    const second = load(later);
    expect(second.version).toBe(first.version + 1);
    rmSync(signingKeyFile(home, "pre-moderator"));
    expect(ensureTrust(home, later)).toBe(true);
    expect(load(later).version).toBe(first.version + 2);
    const text = readFileSync(join(home.operatorDir, "trust-state.json"), "utf8");
    const { keys } = JSON.parse(text) as { keys: { service: string; notBefore: string; notAfter?: string }[] };
    expect(keys.filter(({ notBefore }) => Date.parse(notBefore) < now.getTime())).toHaveLength(6);
    // What the lost key signed until now can still be verified; it signs nothing for long.
    const [taken, lost] = keys.filter(({ service }) => service === "pre-moderator");
    expect(taken?.notAfter).toBeUndefined();
    expect(Date.parse(lost!.notAfter!) - later.getTime()).toBe(5 * 60_000);
  });
});
