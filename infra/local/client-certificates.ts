import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Home } from "./home.ts";
import { type CertificateFiles, isCurrent } from "./pki.ts";

/** SPIFFE id of the demo application, to be bound to an identity before the gateway believes its certificate. */
export const DEMO_APP_ID = "spiffe://callers.sallyport.local/demo-app";
const DEMO_APP = "demo-app";

/** The callers' CA, another one than the services', and the certificate of a demo application. PEM, key PKCS#8. */
export function clientCertificateFiles(home: Home): CertificateFiles {
  const own = (suffix: string) => join(home.credentialsDir, `${DEMO_APP}.${suffix}`);
  return { cert: own("crt"), key: own("key"), ca: join(home.pkiDir, "callers-ca.crt") };
}

/** Makes both, and renews what ends within 30 days. Returns the names that were issued. */
export async function ensureClientCertificates(home: Home, now: Date): Promise<string[]> {
  const files = clientCertificateFiles(home);
  const caKey = join(home.operatorDir, "callers-ca.key");
  const issued: string[] = [];
  if (!existsSync(caKey) || !isCurrent(files.ca, now)) {
    await (await issuer()).issueCa(files.ca, caKey, now, "CN=Sallyport development CA of callers");
    issued.push("callers-ca");
  }
  const ca = new X509Certificate(readFileSync(files.ca));
  if (existsSync(files.key) && isCurrent(files.cert, now, ca)) return issued;
  await (await issuer()).issueLeaf(files, caKey, DEMO_APP, DEMO_APP_ID, now);
  return [...issued, DEMO_APP];
}

/** Loaded only when something is to be issued: it takes a quarter of a second. */
function issuer() {
  return import("./certificates.ts");
}
