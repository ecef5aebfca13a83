import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { services } from "@sallyport/proto/subjects";
import type { Home } from "./home.ts";

const DAY_MS = 86_400_000;
const RENEW_BEFORE_DAYS = 30;

/** Everything that shows a certificate: the services, and those they connect to. */
export const certificateHolders = [...services, "nats", "postgres", "provisioner", "operator"] as const;
export type CertificateHolder = (typeof certificateHolders)[number];

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Where a holder's certificate lies: PEM, key PKCS#8. The operator's lies with the operator's other keys. */
export function certificateFiles(home: Home, holder: CertificateHolder): CertificateFiles {
  const file = (name: string) => join(holder === "operator" ? home.operatorDir : home.pkiDir, name);
  return { cert: file(`${holder}.crt`), key: file(`${holder}.key`), ca: join(home.pkiDir, "ca.crt") };
}

/** SPIFFE id of a holder: the URI SAN that its neighbours check. */
export function spiffeId(holder: string): string {
  return `spiffe://sallyport.local/${holder}`;
}

/**
 * Makes the dev CA and one certificate a holder (server and client), and renews what ends within 30 days or was not
 * issued by this CA. Returns the names that were issued.
 */
export async function ensureCertificates(home: Home, now: Date): Promise<string[]> {
  const caCert = join(home.pkiDir, "ca.crt");
  const caKey = join(home.operatorDir, "ca.key");
  const issued: string[] = [];
  if (!existsSync(caKey) || !isCurrent(caCert, now) || !issuerAmong(caCert, caKey)) {
    await (await issuer()).issueCa(caCert, caKey, now);
    issued.push("ca");
  }
  const ca = issuingCertificate(caCert, caKey);
  for (const holder of certificateHolders) {
    const files = certificateFiles(home, holder);
    if (isCurrent(files.cert, now, ca) && isPair(files)) continue;
    await (await issuer()).issueLeaf(files, caKey, holder, spiffeId(holder), now);
    issued.push(holder);
  }
  return issued;
}

/** Whoever was killed while writing the two may have left a key that is another certificate's. */
function isPair({ cert, key }: CertificateFiles): boolean {
  return (
    existsSync(key) && new X509Certificate(readFileSync(cert)).checkPrivateKey(createPrivateKey(readFileSync(key)))
  );
}

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Throws node:crypto's error for what is no certificate. */
export function believedAuthorities(caFile: string): X509Certificate[] {
  return (readFileSync(caFile, "utf8").match(pemCertificate) ?? []).map((pem) => new X509Certificate(pem));
}

/**
 * Of the authorities that are believed the one that this key signs for: while the authority is replaced there are two. Throws
 * when there is none.
 */
export function issuingCertificate(caFile: string, caKeyFile: string): X509Certificate {
  const found = issuerAmong(caFile, caKeyFile);
  if (!found) throw new Error(`${caKeyFile} is the key of no authority in ${caFile}`);
  return found;
}

function issuerAmong(caFile: string, caKeyFile: string): X509Certificate | undefined {
  const key = createPrivateKey(readFileSync(caKeyFile));
  return believedAuthorities(caFile).find((ca) => ca.checkPrivateKey(key));
}

/** Loaded only when something is to be issued: it takes a quarter of a second. */
function issuer() {
  return import("./certificates.ts");
}

/** Whether a certificate is good for a month more, and of this CA. */
export function isCurrent(file: string, now: Date, ca?: X509Certificate): boolean {
  if (!existsSync(file)) return false;
  try {
    const certificate = new X509Certificate(readFileSync(file));
    const enough = Date.parse(certificate.validTo) - now.getTime() > RENEW_BEFORE_DAYS * DAY_MS;
    return enough && Date.parse(certificate.validFrom) <= now.getTime() && (!ca || certificate.verify(ca.publicKey));
  } catch {
    return false;
  }
}

/** SPKI PEM of the public half of a private key in PEM. */
export function publicPem(privateKeyPem: string): string {
  return createPublicKey(privateKeyPem).export({ type: "spki", format: "pem" }).toString();
}
