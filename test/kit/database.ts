/** The platform's own tables, read as their service reads them: for what no API tells. */
import type { Platform } from "@sallyport/infra/platform";
import pg from "pg";
import { sessionOptions } from "../../infra/local/postgres/grants.ts";

export type DatabaseRole = "gateway" | "audit" | "governance";

/** One statement in a session of its own, so that a server that was restarted in between does not matter. */
export async function query<Row extends pg.QueryResultRow>(
  { home, ports }: Platform,
  role: DatabaseRole,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client(sessionOptions(home, ports.postgres, role));
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<Row>(sql, values)).rows;
  } finally {
    await client.end();
  }
}
