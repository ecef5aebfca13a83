/** Plain SQL migrations: `NNN-name.sql`, numbered from 001 without gaps, each applied once in a transaction of its own. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "../errors.ts";
import type { Db, Tx } from "./database.ts";

interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

const sharedDir = fileURLToPath(new URL("./migrations/", import.meta.url));
/** Any number does; all processes of one schema use the same (the schema's name is mixed in). */
const lockClass = 0x5a11;
const migrationTimeoutMs = 5 * 60_000;

/**
 * Brings the role's schema up to date: first the runtime's own tables (outbox), then those of `dir`. Several processes may
 * call it at once. Throws FAILED_PRECONDITION when an applied file was changed or is missing: then the code is not the
 * schema's.
 */
export async function migrate(db: Db, dir: string): Promise<void> {
  const wanted = [...(await readMigrations(sharedDir, "runtime/")), ...(await readMigrations(dir, ""))];
  await db.transaction(async (tx) => {
    await takeLock(tx);
    await tx.query(`CREATE TABLE IF NOT EXISTS migrations
      (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
    checkApplied(wanted, await readApplied(tx));
  });
  for (const migration of wanted) {
    await db.transaction(async (tx) => {
      await takeLock(tx);
      if ((await readApplied(tx)).has(migration.name)) return;
      await tx.query(migration.sql);
      await tx.query("INSERT INTO migrations (name, checksum) VALUES ($1, $2)", [migration.name, migration.checksum]);
    });
  }
}

async function takeLock(tx: Tx): Promise<void> {
  await tx.query(`SET LOCAL statement_timeout = ${migrationTimeoutMs}; SET LOCAL lock_timeout = ${migrationTimeoutMs}`);
  await tx.query(`SELECT pg_advisory_xact_lock(${lockClass}, hashtext(current_schema()))`);
}

async function readApplied(tx: Tx): Promise<Map<string, string>> {
  const { rows } = await tx.query<{ name: string; checksum: string }>("SELECT name, checksum FROM migrations");
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

function checkApplied(wanted: readonly Migration[], applied: ReadonlyMap<string, string>): void {
  const known = new Map(wanted.map(({ name, checksum }) => [name, checksum]));
  for (const [name, checksum] of applied) {
    if (known.get(name) === checksum) continue;
    const problem = known.has(name) ? "was changed after it was applied" : "is applied but missing here";
    throw new AppError("FAILED_PRECONDITION", `migration ${name} ${problem}`, { reason: "MIGRATION_MISMATCH" });
  }
}

async function readMigrations(dir: string, prefix: string): Promise<Migration[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith(".sql")).sort();
  return await Promise.all(
    files.map(async (file, position) => {
      const number = String(position + 1).padStart(3, "0");
      if (!/^\d{3}-[a-z0-9-]+\.sql$/.test(file) || !file.startsWith(`${number}-`)) {
        throw new AppError("FAILED_PRECONDITION", `migration ${file} should be ${number}-name.sql`);
      }
      const sql = await readFile(join(dir, file), "utf8");
      return { name: `${prefix}${file}`, sql, checksum: createHash("sha256").update(sql).digest("hex") };
    }),
  );
}
