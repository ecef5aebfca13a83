/**
 * Starts the Postgres that test files share: when the first of them asks for it, and not for runs that need none. Each asks
 * over loopback HTTP for a role and schema of its own.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import { startTestPostgres, type TestPostgres } from "./postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    sallyportTestServers: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Promise<TestPostgres> | undefined;
  const server = createServer((_, response) => {
    postgres ??= startTestPostgres();
    postgres
      .then((started) => started.database())
      .then(
        (database) => response.end(JSON.stringify(database)),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("sallyportTestServers", `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return async () => {
    await close(server);
    await (await postgres)?.[Symbol.asyncDispose]();
  };
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
