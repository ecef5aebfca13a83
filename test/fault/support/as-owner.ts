/** The owner of the database, past the proxies: for what no service may do. */
import type { Platform } from "@sallyport/infra/platform";
import pg from "pg";
import { SUPERUSER } from "../../../infra/local/postgres/cluster.ts";
import { sessionOptions } from "../../../infra/local/postgres/grants.ts";

/** How many rows the statement returned or changed. */
export async function asOwner({ home, ports }: Platform, sql: string): Promise<number> {
  const owner = new pg.Client(sessionOptions(home, ports.postgres, SUPERUSER));
  owner.on("error", () => {});
  await owner.connect();
  try {
    return (await owner.query(sql)).rowCount ?? 0;
  } finally {
    await owner.end().catch(() => {});
  }
}
