/** Each service's own role on the running Postgres: its own schema and nothing else; the other services have no role. */
import { flows } from "@sallyport/infra/flows";
import { services } from "@sallyport/proto/subjects";
import { createTestPki } from "@sallyport/runtime/testing";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SUPERUSER } from "../../infra/local/postgres/cluster.ts";
import { sessionOptions } from "../../infra/local/postgres/grants.ts";
import { serviceEnv } from "../../infra/local/services.ts";
import { bootPlatform, type TestPlatform } from "../kit/index.ts";

const owners = flows.filter(({ protocol }) => protocol === "postgres").map(({ from }) => from);
const strangers = services.filter((service) => !owners.includes(service));

let sallyport: TestPlatform;
beforeAll(async () => {
  sallyport = await bootPlatform("database", { services: [] });
  for (const role of owners) await run(role, "CREATE TABLE probe (secret text); INSERT INTO probe VALUES ('kept')");
}, 120_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

function options(role: string, change: pg.ClientConfig = {}): pg.ClientConfig {
  const { home, ports } = sallyport.platform;
  return { ...sessionOptions(home, ports.postgres, role), ...change };
}

/** Rows of the last statement. Rejects with the server's SQLSTATE as `code`. */
async function session(config: pg.ClientConfig, sql: string): Promise<unknown[]> {
  const client = new pg.Client(config);
  client.on("error", () => {});
  try {
    await client.connect();
    const results = [await client.query(sql)].flat();
    return results.at(-1)!.rows;
  } finally {
    await client.end().catch(() => {});
  }
}
const run = (role: string, sql: string) => session(options(role), sql);

const denied = "42501";
const noPassword = "28P01";
const noRule = "28000";

test("the table gives a database to the gateway, the audit service and governance alone", () => {
  expect(owners.toSorted()).toEqual(["audit", "gateway", "governance"]);
});

describe.each(owners)("role %s", (role) => {
  test("works in its own schema", async () => {
    expect(await run(role, "SELECT secret FROM probe")).toEqual([{ secret: "kept" }]);
    expect(await run(role, "SELECT current_schemas(false)::text AS path")).toEqual([{ path: `{${role}}` }]);
  });

  test.each(owners.filter((other) => other !== role))("neither reads nor writes schema %s", async (other) => {
    const table = `${pg.escapeIdentifier(other)}.probe`;
    for (const sql of [
      `SELECT * FROM ${table}`,
      `INSERT INTO ${table} VALUES ('x')`,
      `UPDATE ${table} SET secret = 'x'`,
      `DELETE FROM ${table}`,
      `TRUNCATE ${table}`,
      `DROP TABLE ${table}`,
      `CREATE TABLE ${table}2 (x int)`,
      `DROP SCHEMA ${pg.escapeIdentifier(other)} CASCADE`,
      `SET ROLE ${pg.escapeIdentifier(other)}`,
      `GRANT ${pg.escapeIdentifier(other)} TO ${pg.escapeIdentifier(role)}`,
    ]) {
      await expect(run(role, sql), sql).rejects.toMatchObject({ code: denied });
    }
    await expect(session(options(role, { user: other }), "SELECT 1")).rejects.toMatchObject({ code: noPassword });
  });

  test("gets no further by the server's own means", async () => {
    for (const sql of [
      "CREATE SCHEMA more",
      "CREATE TABLE public.more (x int)",
      "CREATE DATABASE more",
      "CREATE ROLE more",
      `SET ROLE ${SUPERUSER}`,
      "ALTER SYSTEM SET ssl = off",
      "SELECT * FROM pg_authid",
      "SELECT pg_read_file('pg_hba.conf')",
      "SELECT pg_ls_dir('.')",
      "SELECT pg_reload_conf()",
      "COPY probe TO PROGRAM 'true'",
      "COPY probe FROM '/etc/hostname'",
      "CREATE EXTENSION file_fdw",
      "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
    ]) {
      await expect(run(role, sql), sql).rejects.toMatchObject({ code: denied });
    }
    expect(
      await run(
        role,
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS more FROM pg_roles WHERE rolname = current_user",
      ),
    ).toEqual([{ more: false }]);
  });

  test("reaches no other database", async () => {
    for (const database of ["postgres", "template1"]) {
      await expect(session(options(role, { database }), "SELECT 1"), database).rejects.toMatchObject({ code: noRule });
    }
  });

  test("does not get in without TLS, without its password, or with another's", async () => {
    await expect(session(options(role, { ssl: false }), "SELECT 1")).rejects.toMatchObject({ code: noRule });
    await expect(session(options(role, { password: "guess" }), "SELECT 1")).rejects.toMatchObject({ code: noPassword });
    const { password } = options(owners.find((other) => other !== role)!);
    await expect(session(options(role, { password }), "SELECT 1")).rejects.toMatchObject({ code: noPassword });
  });

  test("does not speak to a server that our CA does not vouch for", async () => {
    const { ca } = await (await createTestPki()).issue("gateway");
    const foreign = options(role, { ssl: { ca, servername: "localhost" } });
    await expect(session(foreign, "SELECT 1")).rejects.toThrow(/certificate/);
  });
});

describe.each(strangers)("%s", (service) => {
  test("has no role, no schema and no way in", async () => {
    const found = `SELECT 1 FROM pg_roles WHERE rolname = '${service}' UNION ALL SELECT 1 FROM pg_namespace WHERE nspname = '${service}'`;
    expect(await run("gateway", found)).toEqual([]);
    await expect(session(options("gateway", { user: service }), "SELECT 1")).rejects.toMatchObject({
      code: noPassword,
    });
    const plain = options("gateway", { user: service, ssl: false });
    await expect(session(plain, "SELECT 1")).rejects.toMatchObject({ code: noRule });
  });

  test("is told of no database", () => {
    const { home, ports } = sallyport.platform;
    const settings = { logLevel: "info", policyBundleDir: "", remoteEndpoints: {}, extraEnv: {} };
    const env = serviceEnv(service, home, ports, settings);
    expect(Object.keys(env).filter((name) => name.startsWith("DATABASE"))).toEqual([]);
    expect(Object.values(env).join(" ")).not.toMatch(new RegExp(`postgres|:${ports.postgres}\\b`));
  });
});
