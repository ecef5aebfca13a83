import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { canReach, postgresAccount, systemDir } from "../../../infra/local/postgres/account.ts";
import { copyBinaries, packagedPostgres, prepareBinaries } from "../../../infra/local/postgres/binaries.ts";
import { createTestCa, type TestCa } from "./certificates.ts";
import { freePort, ServerProcess } from "./server-process.ts";

/** What openDatabase needs for a role with a schema of its own. */
export interface TestDatabase {
  url: string;
  passwordFile: string;
  caFile: string;
}

export interface TestPostgres extends AsyncDisposable {
  readonly ca: TestCa;
  /** A new role with an empty schema of the same name, which is its search path. */
  database(): Promise<TestDatabase>;
  /** A superuser's connection, to be ended by the caller. */
  admin(): Promise<pg.Client>;
  /** SIGKILL of the postmaster; its children notice and go. */
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

const superuser = "test_owner";

/** A real Postgres over TLS, in a temporary folder. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-postgres-"));
  const account = postgresAccount(() => undefined);
  const native = packagedPostgres();
  const binaries = prepareBinaries(account && !canReach(native, account) ? copyBinaries(native, systemDir) : native);
  const own = (path: string) => account && chownSync(path, account.uid, account.gid);
  own(dir);
  const data = join(dir, "data");
  const passwordFile = join(dir, "password");
  writeFileSync(passwordFile, randomBytes(16).toString("hex"), { mode: 0o600 });
  own(passwordFile);
  const initdb = [
    "--pgdata",
    data,
    "--username",
    superuser,
    "--pwfile",
    passwordFile,
    "--auth=scram-sha-256",
    "--no-sync",
  ];
  await promisify(execFile)(binaries.initdb, [...initdb, "--encoding=UTF8", "--locale=C"], {
    ...account,
    cwd: "/",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
  });
  const ca = await createTestCa();
  const port = await freePort();
  await writeSettings(data, port, ca, own);
  const server = new ServerProcess({
    command: binaries.postgres,
    args: ["-D", data],
    user: account,
    ready: async () => {
      await (await connectAs(port, ca, passwordFile)).end();
      return true;
    },
  });
  await server.start();
  return handle(server, port, ca, dir, passwordFile);
}

function handle(server: ServerProcess, port: number, ca: TestCa, dir: string, passwordFile: string): TestPostgres {
  return {
    ca,
    database: () => createDatabase(port, ca, passwordFile),
    admin: () => connectAs(port, ca, passwordFile),
    kill: () => server.signal("SIGKILL"),
    start: () => startAgain(server),
    pause: () => server.signal("SIGSTOP"),
    resume: () => server.signal("SIGCONT"),
    async [Symbol.asyncDispose]() {
      await server.signal("SIGQUIT");
      rmSync(dir, { recursive: true, force: true });
      ca[Symbol.dispose]();
    },
  };
}

/** After a SIGKILL the orphans of the old postmaster hold the data folder for a moment. */
async function startAgain(server: ServerProcess): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await server.start();
    } catch (error) {
      if (attempt >= 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** A role and schema of a random name on the server at `port`. */
async function createDatabase(port: number, ca: TestCa, adminPassword: string): Promise<TestDatabase> {
  const role = `t${randomBytes(6).toString("hex")}`;
  const password = randomBytes(16).toString("hex");
  const client = await connectAs(port, ca, adminPassword);
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`);
  await client.query(`CREATE SCHEMA ${role} AUTHORIZATION ${role}`);
  await client.query(`ALTER ROLE ${role} SET search_path = ${role}`);
  await client.end();
  mkdirSync(ca.dir, { recursive: true });
  const passwordFile = join(ca.dir, `${role}.password`);
  writeFileSync(passwordFile, password, { mode: 0o600 });
  return { url: `postgres://${role}@127.0.0.1:${port}/postgres`, passwordFile, caFile: ca.caFile };
}

async function connectAs(port: number, ca: TestCa, passwordFile: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: "127.0.0.1",
    port,
    user: superuser,
    database: "postgres",
    password: readFileSync(passwordFile, "utf8"),
    ssl: { ca: readFileSync(ca.caFile, "utf8"), servername: "localhost" },
    connectionTimeoutMillis: 5_000,
  });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function writeSettings(data: string, port: number, ca: TestCa, own: (path: string) => void): Promise<void> {
  const { certFile, keyFile } = await ca.issue("postgres");
  const settings = [
    "listen_addresses = '127.0.0.1'",
    `port = ${port}`,
    "unix_socket_directories = ''",
    "max_connections = 100",
    "ssl = on",
    "ssl_cert_file = 'server.crt'",
    "ssl_key_file = 'server.key'",
    // A killed process loses nothing that the kernel has; only a power cut would.
    "fsync = off",
    "timezone = 'UTC'",
    "jit = off",
  ];
  copyFileSync(certFile, join(data, "server.crt"));
  copyFileSync(keyFile, join(data, "server.key"));
  writeFileSync(join(data, "postgresql.auto.conf"), `${settings.join("\n")}\n`);
  writeFileSync(join(data, "pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n");
  for (const name of ["server.crt", "server.key", "postgresql.auto.conf", "pg_hba.conf"]) own(join(data, name));
}
