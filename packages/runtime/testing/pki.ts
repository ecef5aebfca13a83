/** A certificate authority for tests: real certificates, made in memory, as the local runner makes them. */
import { randomBytes, webcrypto } from "node:crypto";
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { TlsMaterial } from "../src/tls.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const hourMs = 3_600_000;

interface IssueOptions {
  uris?: string[];
  expired?: boolean;
  subject?: string;
}

export interface TestPki {
  readonly ca: Buffer;
  /** Certificate for localhost and 127.0.0.1 with the service's SPIFFE id; `uris` replaces the id, `subject` `CN=<service>`. */
  issue(service: string, options?: IssueOptions): Promise<TlsMaterial>;
}

export async function createTestPki(name = "Sallyport test CA"): Promise<TestPki> {
  const caKeys = await generateKeys();
  const caCertificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: randomBytes(16).toString("hex"),
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - hourMs),
    notAfter: new Date(Date.now() + 24 * hourMs),
    signingAlgorithm: algorithm,
    keys: caKeys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const ca = Buffer.from(caCertificate.toString("pem"));
  return { ca, issue: (service, options = {}) => issue(service, options, caCertificate, caKeys.privateKey, ca) };
}

async function issue(
  service: string,
  { uris = [`spiffe://sallyport.local/${service}`], expired = false, subject = `CN=${service}` }: IssueOptions,
  issuer: X509Certificate,
  signingKey: webcrypto.CryptoKey,
  ca: Buffer,
): Promise<TlsMaterial> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomBytes(16).toString("hex"),
    subject,
    issuer: issuer.subject,
    notBefore: new Date(Date.now() - 2 * hourMs),
    notAfter: new Date(Date.now() + (expired ? -hourMs : hourMs)),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension([
        { type: "dns", value: "localhost" },
        { type: "ip", value: "127.0.0.1" },
        ...uris.map((value) => ({ type: "url" as const, value })),
      ]),
    ],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const pem = `-----BEGIN PRIVATE KEY-----\n${key.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
  return { cert: Buffer.from(certificate.toString("pem")), key: Buffer.from(pem), ca };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}
