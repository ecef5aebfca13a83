import "reflect-metadata";
import { createPrivateKey, type webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import * as x509 from "@peculiar/x509";
import { writeWhole } from "./files.ts";
import { issuingCertificate } from "./pki.ts";

const DAY_MS = 86_400_000;
const CA_DAYS = 3_650;
const LEAF_DAYS = 365;
const BACKDATE_MS = 5 * 60_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A CA of the dev installation: ECDSA P-256, signs leaves only. */
export async function issueCa(
  certFile: string,
  keyFile: string,
  now: Date,
  name = "CN=Sallyport development CA",
): Promise<void> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name,
    ...validity(now, CA_DAYS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  writeWhole(keyFile, await privatePem(keys.privateKey));
  writeWhole(certFile, `${certificate.toString("pem")}\n`, 0o644);
}

/** A certificate for both ends of TLS on this machine's loopback, and on a host of the holder's name; `id` becomes its URI SAN (SPIFFE X.509-SVID). */
export async function issueLeaf(
  files: { cert: string; key: string; ca: string },
  caKeyFile: string,
  name: string,
  id: string,
  now: Date,
): Promise<void> {
  const keys = await newKeys();
  const ca = new x509.X509Certificate(issuingCertificate(files.ca, caKeyFile).toString());
  const names = [
    { type: "dns", value: "localhost" },
    // Where each has a host of its own: the name of its container or Kubernetes service.
    { type: "dns", value: name },
    { type: "ip", value: "127.0.0.1" },
    { type: "ip", value: "::1" },
    { type: "url", value: id },
  ] as const;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${name}`,
    issuer: ca.subject,
    ...validity(now, LEAF_DAYS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await readCaKey(caKeyFile),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([...names]),
      await x509.AuthorityKeyIdentifierExtension.create(ca),
    ],
  });
  writeWhole(files.key, await privatePem(keys.privateKey));
  writeWhole(files.cert, `${certificate.toString("pem")}\n`, 0o644);
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

async function readCaKey(file: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(readFileSync(file)).export({ type: "pkcs8", format: "der" });
  return crypto.subtle.importKey("pkcs8", new Uint8Array(der), ALGORITHM, false, ["sign"]);
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").match(/.{1,64}/g)!;
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now.getTime() - BACKDATE_MS), notAfter: new Date(now.getTime() + days * DAY_MS) };
}

function serial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0]! &= 0x7f;
  return Buffer.from(bytes).toString("hex");
}
