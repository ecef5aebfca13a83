import { inject } from "vitest";
import type {} from "./global-setup.ts";
import type { TestDatabase } from "./postgres.ts";

/** A role with an empty schema on the Postgres of this test run (see global-setup.ts). */
export async function testDatabase(): Promise<TestDatabase> {
  const response = await fetch(inject("sallyportTestServers"));
  if (!response.ok) throw new Error(`the shared Postgres did not start: ${await response.text()}`);
  return (await response.json()) as TestDatabase;
}
