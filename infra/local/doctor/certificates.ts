/** Every certificate: there, by our authority, in time, for the right service, and belonging to its key. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { believedAuthorities, type CertificateHolder, certificateFiles, certificateHolders, spiffeId } from "../pki.ts";
import { type Finding, fail, type Subject, summed, warn } from "./finding.ts";

const dayMs = 86_400_000;
const warnDays = 14;
const remake =
  "Start the platform again: it makes what is missing, foreign or about to end; or: sallyport rotate certificates";
const finish = "Finish it: sallyport rotate authority";

export function examineCertificates({ home, now }: Subject): Finding[] {
  const caFile = join(home.pkiDir, "ca.crt");
  if (!existsSync(caFile)) return [fail("certificates", "pki/ca.crt is not there", remake)];
  const authorities = readAuthorities(caFile);
  if (authorities.length === 0) return [fail("certificates", "pki/ca.crt is not a certificate", remake)];
  const unfinished = warn("certificates", "a change of authority is not finished: two are believed", finish);
  const faults = [
    ...authorities.flatMap((ca) => times("the authority (pki/ca.crt)", ca, now)),
    ...(authorities.length > 1 ? [unfinished] : []),
    ...certificateHolders.flatMap((holder) => examineLeaf(certificateFiles(home, holder), holder, authorities, now)),
  ];
  const ends = certificateHolders.map((holder) => read(certificateFiles(home, holder).cert)?.validTo ?? "");
  const first = ends.sort((a, b) => Date.parse(a) - Date.parse(b))[0];
  return summed("certificates", faults, `${certificateHolders.length} in time; the first ends ${first}`);
}

function examineLeaf(
  files: { cert: string; key: string },
  holder: CertificateHolder,
  authorities: readonly X509Certificate[],
  now: Date,
): Finding[] {
  const name = `the certificate of ${holder}`;
  const broken = (problem: string) => [fail("certificates", `${name} ${problem}`, remake)];
  if (!existsSync(files.cert) || !existsSync(files.key)) return broken("or its key is not there");
  const certificate = read(files.cert);
  if (!certificate) return broken("cannot be read");
  if (!authorities.some((ca) => certificate.verify(ca.publicKey)))
    return broken("is not by this installation's authority");
  const names = certificate.subjectAltName?.split(", ") ?? [];
  if (!names.includes(`URI:${spiffeId(holder)}`)) return broken(`is not for ${spiffeId(holder)}: neighbours refuse it`);
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(readFileSync(files.key))))
      return broken("does not belong to its key");
  } catch {
    return broken("has a key that cannot be read");
  }
  return times(name, certificate, now);
}

function times(name: string, { validFrom, validTo }: X509Certificate, now: Date): Finding[] {
  const left = Date.parse(validTo) - now.getTime();
  if (left <= 0) return [fail("certificates", `${name} expired on ${validTo}`, remake)];
  if (Date.parse(validFrom) > now.getTime())
    return [fail("certificates", `${name} is valid only from ${validFrom}`, "Check this machine's clock.")];
  return left < warnDays * dayMs ? [warn("certificates", `${name} ends on ${validTo}`, remake)] : [];
}

function readAuthorities(file: string): X509Certificate[] {
  try {
    return believedAuthorities(file);
  } catch {
    return [];
  }
}

function read(file: string): X509Certificate | undefined {
  try {
    return new X509Certificate(readFileSync(file));
  } catch {
    return undefined;
  }
}
