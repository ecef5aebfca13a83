import { readFileSync } from "node:fs";
import pg from "pg";
import type { Home } from "../home.ts";
import { certificateFiles } from "../pki.ts";
import { DATABASE, databaseServices, passwordFile, SUPERUSER } from "./cluster.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/** Options of a TLS session of `role`, checked against the dev CA. */
export function sessionOptions(
  home: Home,
  port: number,
  role: string,
  database = DATABASE,
  host = "127.0.0.1",
): pg.ClientConfig {
  return {
    host,
    port,
    user: role,
    password: readFileSync(passwordFile(home, role), "utf8").trim(),
    database,
    ssl: { ca: readFileSync(certificateFiles(home, "postgres").ca), servername: "localhost" },
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  };
}

/** The database, and for each service that has one (infra/flows.ts) a role and a schema that only it may use. Idempotent. */
export async function grantSchemas(home: Home, port: number, host?: string): Promise<void> {
  await withSession(sessionOptions(home, port, SUPERUSER, "postgres", host), async (session) => {
    const { rowCount } = await session.query("SELECT 1 FROM pg_database WHERE datname = $1", [DATABASE]);
    if (rowCount === 0) await session.query(`CREATE DATABASE ${DATABASE}`);
  });
  await withSession(sessionOptions(home, port, SUPERUSER, DATABASE, host), async (session) => {
    await session.query(`REVOKE ALL ON DATABASE ${DATABASE} FROM PUBLIC`);
    await session.query("REVOKE ALL ON SCHEMA public FROM PUBLIC");
    for (const service of databaseServices) await grantSchema(home, session, service);
  });
}

async function grantSchema(home: Home, session: pg.Client, service: string): Promise<void> {
  const role = pg.escapeIdentifier(service);
  const { rowCount } = await session.query("SELECT 1 FROM pg_roles WHERE rolname = $1", [service]);
  if (rowCount === 0) await session.query(`CREATE ROLE ${role}`);
  const password = pg.escapeLiteral(readFileSync(passwordFile(home, service), "utf8").trim());
  await session.query(
    `ALTER ROLE ${role} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD ${password}`,
  );
  await session.query(`GRANT CONNECT ON DATABASE ${DATABASE} TO ${role}`);
  await session.query(`CREATE SCHEMA IF NOT EXISTS ${role} AUTHORIZATION ${role}`);
  await session.query(`REVOKE ALL ON SCHEMA ${role} FROM PUBLIC`);
  await session.query(`ALTER ROLE ${role} SET search_path = ${role}`);
}

async function withSession(options: pg.ClientConfig, use: (session: pg.Client) => Promise<void>): Promise<void> {
  const session = new pg.Client(options);
  session.on("error", () => {});
  await session.connect();
  try {
    await use(session);
  } finally {
    await session.end();
  }
}
