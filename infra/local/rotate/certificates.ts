/** Rotation of the certificates of services, bus and database, and of their authority. */
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { issueCa, issueLeaf } from "../certificates.ts";
import { writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import { certificateFiles, certificateHolders, spiffeId } from "../pki.ts";
import { prepareCluster } from "../postgres/cluster.ts";
import type { Running } from "./running.ts";

type Report = (line: string) => void;

/** New keys and certificates for everyone, from the authority of now. */
export async function rotateCertificates(home: Home, running: Running | undefined, report: Report): Promise<void> {
  const ca = join(home.pkiDir, "ca.crt");
  await issueAll(home, ca, join(home.operatorDir, "ca.key"));
  await takeUp(home, running);
  report("every service shows a new certificate");
}

/** A new authority: believed beside the former one until everyone has a certificate of the new. */
export async function rotateAuthority(home: Home, running: Running | undefined, report: Report): Promise<void> {
  const [ca, key] = [join(home.pkiDir, "ca.crt"), join(home.operatorDir, "ca.key")];
  const [nextCa, nextKey] = [join(home.operatorDir, "ca.next.crt"), join(home.operatorDir, "ca.next.key")];
  if (!existsSync(nextCa) || !existsSync(nextKey)) await issueCa(nextCa, nextKey, new Date());
  const next = readFileSync(nextCa, "utf8").trim();
  writeWhole(ca, `${next}\n${readFileSync(ca, "utf8").replace(next, "").trim()}\n`, 0o644);
  await takeUp(home, running);
  report("both authorities are believed");
  await issueAll(home, nextCa, nextKey);
  await takeUp(home, running);
  report("every service shows a certificate of the new authority");
  copyFileSync(nextKey, key);
  writeWhole(ca, `${next}\n`, 0o644);
  await takeUp(home, running);
  for (const file of [nextCa, nextKey]) rmSync(file);
  report("the former authority is not believed any more");
}

async function issueAll(home: Home, ca: string, caKey: string): Promise<void> {
  for (const holder of certificateHolders) {
    const files = { ...certificateFiles(home, holder), ca };
    await issueLeaf(files, caKey, holder, spiffeId(holder), new Date());
  }
}

async function takeUp(home: Home, running: Running | undefined): Promise<void> {
  if (!running) return;
  // The servers first: they are met by clients with former and new certificates alike.
  await prepareCluster(home, Number(new URL(running.endpoints.postgres).port), () => {});
  running.reload("postgres");
  running.reload("nats");
  const files = (service: ServiceName) => Object.values(certificateFiles(home, service)) as string[];
  await running.untilLoaded("tls", Object.fromEntries(services.map((service) => [service, files(service)])));
  for (const service of running.services) await running.untilReady(service);
}
