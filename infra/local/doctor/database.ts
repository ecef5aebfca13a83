/** Postgres: reachable over TLS, new enough, safe settings, and each service's role with its own schema and nothing else. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { databaseServices, SUPERUSER } from "../postgres/cluster.ts";
import { sessionOptions } from "../postgres/grants.ts";
import { away, type Finding, fail, type Subject, said, summed } from "./finding.ts";

const neededVersion = 16;
const regrant =
  "Start the platform again: it makes the roles and schemas, and takes away what others may. Then find out who gave it.";

export async function examineDatabase(subject: Subject): Promise<Finding[]> {
  const { home, ports } = subject;
  const password = join(home.secretsDir, `postgres-${SUPERUSER}`);
  if (!existsSync(password))
    return [
      fail(
        "database",
        `${password} is not there`,
        "Start the platform once; without it nobody can look after the database.",
      ),
    ];
  const session = new pg.Client({ ...sessionOptions(home, ports.postgres, SUPERUSER), connectionTimeoutMillis: 3_000 });
  session.on("error", () => {});
  try {
    await session.connect();
  } catch (error) {
    session.end().catch(() => {});
    return [away(subject, "database", `it does not answer on port ${ports.postgres}: ${said(error)}`)];
  }
  try {
    return [...(await examineServer(session)), ...(await examineSchemas(session))];
  } catch (error) {
    return [fail("database", `it could not be examined: ${said(error)}`, "Look at logs/postgres.jsonl of the home.")];
  } finally {
    await session.end();
  }
}

async function examineServer(session: pg.Client): Promise<Finding[]> {
  const { rows } = await session.query<{ version: string; number: string; fsync: string; commit: string }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS number,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit`,
  );
  const { version, number, fsync, commit } = rows[0]!;
  const faults: Finding[] = [];
  if (Number(number) < neededVersion * 10_000)
    faults.push(fail("database", `Postgres ${version} is too old`, `Use ${neededVersion} or newer.`));
  if (fsync !== "on" || commit === "off")
    faults.push(fail("database", "acknowledged commits can be lost", "Set fsync and synchronous_commit to on."));
  return summed("database", faults, `Postgres ${version}, TLS, every commit on disk`);
}

interface Role {
  name: string;
  mighty: boolean;
  owner: string | null;
}

/** A service that could read its neighbour's schema could take over its part. */
async function examineSchemas(session: pg.Client): Promise<Finding[]> {
  const { rows: roles } = await session.query<Role>(
    `SELECT rolname AS name, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls AS mighty,
       (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = rolname) AS owner
     FROM pg_roles WHERE rolname = ANY($1)`,
    [databaseServices],
  );
  const faults: Finding[] = [];
  const wrong = (problem: string) => faults.push(fail("schemas", problem, regrant));
  for (const service of databaseServices) {
    const role = roles.find(({ name }) => name === service);
    if (!role) wrong(`the role ${service} is missing`);
    else if (role.mighty) wrong(`the role ${service} may do more than use its schema`);
    if (role && role.owner === null) wrong(`the schema ${service} is missing`);
    else if (role && role.owner !== service) wrong(`the schema ${service} belongs to ${role.owner}`);
  }
  const present = roles.filter(({ owner }) => owner !== null).map(({ name }) => name);
  const { rows: strays } = await session.query<{ role: string; schema: string }>(
    `SELECT role, schema FROM unnest($1::text[]) AS role, unnest($2::text[]) AS schema
     WHERE role <> schema AND has_schema_privilege(role, schema, 'USAGE')`,
    [present, present],
  );
  for (const { role, schema } of strays) wrong(`${role} may use the schema of ${schema}`);
  return summed("schemas", faults, `${databaseServices.join(", ")}: each its own, and none of another`);
}
