import { generateKeyPairSync } from "node:crypto";
import { fileURLToPath } from "node:url";
import { createLogger, type Db, migrate, openDatabase } from "@sallyport/runtime";
import { type TestDatabase, testDatabase } from "@sallyport/runtime/testing";
import type { NoteSigner } from "@sallyport/tlog";

const migrations = fileURLToPath(new URL("../src/db/migrations/", import.meta.url));

/** The audit schema, empty, under a role of its own on the test run's Postgres or on the one given. */
export async function auditDatabase(target?: TestDatabase): Promise<Db> {
  const db = await openDatabase({ ...(target ?? (await testDatabase())), log: createLogger("audit", "error") });
  await migrate(db, migrations);
  return db;
}

export function testSigner(name: string): NoteSigner {
  return { name, privateKey: generateKeyPairSync("ed25519").privateKey };
}
