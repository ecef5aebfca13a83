import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../files.ts";
import type { Home } from "../home.ts";

/** What the platform's access tokens are for (RFC 8707 resource indicator, `aud` of the token). */
export const API_RESOURCE = "https://sallyport.local/api";

export interface DevClient {
  readonly id: string;
  readonly secret: string;
  readonly tenant: string;
  readonly groups: readonly string[];
}

/** Makes an office of one tenant one of the whole platform (policy data, `platformGroups`). */
const PLATFORM = "sallyport-platform";

/** The people of the development tenant, and one of another tenant. Name of the client = `sub` of its tokens. */
const PEOPLE: readonly Omit<DevClient, "secret">[] = [
  { id: "user", tenant: "demo", groups: ["sallyport-users"] },
  { id: "reviewer", tenant: "demo", groups: ["sallyport-reviewers", PLATFORM] },
  { id: "operator", tenant: "demo", groups: ["sallyport-operators", PLATFORM] },
  { id: "approver", tenant: "demo", groups: ["sallyport-operators", PLATFORM] },
  { id: "auditor", tenant: "demo", groups: ["sallyport-auditors", PLATFORM] },
  { id: "outsider", tenant: "other", groups: ["sallyport-users"] },
];

export interface IssuerFiles {
  readonly clients: string;
  readonly keys: string;
}

/** Makes the issuer's clients (random secrets) and its ES256 signing key at the first call. */
export function ensureIssuerFiles(home: Home): IssuerFiles {
  const files = { clients: join(home.issuerDir, "clients.json"), keys: join(home.issuerDir, "keys.json") };
  const known = existsSync(files.clients) ? readClients(files.clients) : [];
  const clients = PEOPLE.map((person) => ({
    ...person,
    secret: known.find(({ id }) => id === person.id)?.secret ?? randomBytes(32).toString("hex"),
  }));
  if (JSON.stringify(clients) !== JSON.stringify(known)) writeWhole(files.clients, `${JSON.stringify(clients)}\n`);
  if (!existsSync(files.keys)) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = {
      ...privateKey.export({ format: "jwk" }),
      kid: randomBytes(8).toString("hex"),
      use: "sig",
      alg: "ES256",
    };
    writeWhole(files.keys, `${JSON.stringify({ keys: [key] })}\n`);
  }
  return files;
}

export function readClients(file: string): DevClient[] {
  return JSON.parse(readFileSync(file, "utf8")) as DevClient[];
}
