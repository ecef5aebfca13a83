/** The model store: every file is what its name says, and every approved model is there. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { sessionOptions } from "../postgres/grants.ts";
import { away, type Finding, fail, type Subject, summed } from "./finding.ts";

const role = "governance";

export async function examineModels(subject: Subject): Promise<Finding[]> {
  const dir = join(subject.home.modelsDir, "sha256");
  // Drafts of an import that is under way have other names.
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
  const faults: Finding[] = [];
  for (const name of names) {
    if ((await digestOf(join(dir, name))) === name) continue;
    const mend = "No worker loads it. Move it away and import the model again; find out who could write to the store.";
    faults.push(fail("models", `the file ${name.slice(0, 12)}… is not what its name says`, mend));
  }
  const approved = await approvedModels(subject);
  if (!approved) {
    const stored = summed("models", faults, `${names.length} files are what their names say`);
    return faults.length > 0 ? stored : [...stored, away({ ...subject, running: false }, "registry", "")];
  }
  for (const { name, version, digest } of approved) {
    if (names.includes(digest)) continue;
    faults.push(
      fail(
        "models",
        `${name} ${version} is approved, but its file ${digest.slice(0, 12)}… is not in the store`,
        "Import the same file again, or revoke the model.",
      ),
    );
  }
  return summed("models", faults, `${approved.length} approved, ${names.length} files, each what its name says`);
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest("hex");
}

/** Models with a file of their own; undefined when the registry cannot be asked. */
async function approvedModels({ home, ports }: Subject) {
  if (!existsSync(join(home.secretsDir, `postgres-${role}`))) return undefined;
  const session = new pg.Client({ ...sessionOptions(home, ports.postgres, role), connectionTimeoutMillis: 3_000 });
  session.on("error", () => {});
  try {
    await session.connect();
    const sql =
      "SELECT name, version, digest FROM models WHERE state = 'approved' AND remote_endpoint = '' ORDER BY name";
    return (await session.query<{ name: string; version: string; digest: string }>(sql)).rows;
  } catch {
    return undefined;
  } finally {
    // Not waited for: a server that does not answer does not say goodbye either.
    session.end().catch(() => {});
  }
}
