/** Examines an installation, running or not, and says what to mend. Changes nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Endpoints } from "../endpoints.ts";
import { readJson } from "../files.ts";
import { homeAt } from "../home.ts";
import { DEFAULT_PORT_BASE, portsFrom } from "../ports.ts";
import { isAlive, type ProcessId } from "../process/identity.ts";
import { examineBus } from "./bus.ts";
import { examineCertificates } from "./certificates.ts";
import { examineChamber } from "./chamber.ts";
import { examineDatabase } from "./database.ts";
import { type Examination, type Finding, fail, type Subject, said } from "./finding.ts";
import { examineDisk, examineHome, examineNode, examinePermissions } from "./home.ts";
import { examineLog } from "./log.ts";
import { examineModels } from "./models.ts";
import { examineIssuer, examinePorts, examineServices } from "./services.ts";
import { examineTrust } from "./trust.ts";

export type { Finding, Level } from "./finding.ts";

const examinations: readonly (readonly [string, Examination])[] = [
  ["node", examineNode],
  ["home", examineHome],
  ["permissions", examinePermissions],
  ["disk", examineDisk],
  ["certificates", examineCertificates],
  ["trust bundle", examineTrust],
  ["ports", examinePorts],
  ["services", examineServices],
  ["bus", examineBus],
  ["database", examineDatabase],
  ["issuer", examineIssuer],
  ["models", examineModels],
  ["log", examineLog],
  ["chamber", examineChamber],
];

/** In the order in which to mend. An examination that breaks down is itself a finding. */
export async function examine(path: string, now = new Date()): Promise<Finding[]> {
  const subject = subjectOf(path, now);
  // Of a home that is not there nothing more can be said.
  if (!existsSync(subject.home.root)) return [...examineNode(), ...examineHome(subject)];
  const findings = await Promise.all(
    examinations.map(async ([check, examination]) => {
      try {
        return await examination(subject);
      } catch (error) {
        return [fail(check, `it could not be examined: ${said(error)}`, "Mend what is above, then ask again.")];
      }
    }),
  );
  return findings.flat();
}

function subjectOf(path: string, now: Date): Subject {
  const home = homeAt(path);
  const endpoints = readJson<Endpoints>(home.endpointsFile);
  const holder = readJson<ProcessId>(join(home.runDir, "lock"));
  const base = Number(URL.parse(endpoints?.gatewayHttp ?? "")?.port) || DEFAULT_PORT_BASE;
  return { home, endpoints, ports: portsFrom(base), running: holder !== undefined && isAlive(holder), now };
}
