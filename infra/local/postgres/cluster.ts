import { execFile } from "node:child_process";
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ServiceName } from "@sallyport/proto/subjects";
import { flows } from "../../flows.ts";
import { secretFile, writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import { certificateFiles } from "../pki.ts";
import type { ProcessSpec } from "../process/supervised.ts";
import { type Account, canReach, postgresAccount, reachableDir, systemDir } from "./account.ts";
import { copyBinaries, type PostgresBinaries, packagedPostgres, prepareBinaries } from "./binaries.ts";

const HOST = "127.0.0.1";
const STOP_TIMEOUT_MS = 10_000;
const READY_TIMEOUT_MS = 60_000;
export const DATABASE = "sallyport";
export const SUPERUSER = "sallyport_owner";

/** Services with a schema of their own; role, schema and service have one name. */
export const databaseServices = flows
  .filter((flow) => flow.protocol === "postgres")
  .map((flow) => flow.from as ServiceName);

/** File with the password of a role: 32 random bytes in hex. */
export function passwordFile(home: Home, role: string): string {
  const file = join(home.secretsDir, `postgres-${role}`);
  secretFile(file);
  return file;
}

export interface Cluster {
  readonly dir: string;
  readonly binaries: PostgresBinaries;
  readonly account: Account | undefined;
}

/** Brings the cluster's files up: initdb once; certificate, settings and access rules at every start. */
export async function prepareCluster(home: Home, port: number, report: (line: string) => void): Promise<Cluster> {
  const account = postgresAccount(report);
  let native = packagedPostgres();
  if (account && !canReach(native, account)) native = copyBinaries(native, systemDir);
  const binaries = prepareBinaries(native);
  const wanted = join(home.postgresDir, "data");
  const dir = account ? reachableDir(wanted, account, report) : wanted;
  if (!existsSync(join(dir, "PG_VERSION"))) await initialise(home, dir, binaries, account);
  writeSettings(home, dir, port, account);
  return { dir, binaries, account };
}

async function initialise(
  home: Home,
  dir: string,
  binaries: PostgresBinaries,
  account: Account | undefined,
): Promise<void> {
  // What an initdb that was cut short left behind would stop the next one.
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const passwords = join(dir, "..", `.initdb-${process.pid}`);
  writeFileSync(passwords, readFileSync(passwordFile(home, SUPERUSER)), { mode: 0o600 });
  if (account) for (const path of [dir, passwords]) chownSync(path, account.uid, account.gid);
  const args = ["--pgdata", dir, "--username", SUPERUSER, "--pwfile", passwords, "--auth=scram-sha-256"];
  try {
    await promisify(execFile)(binaries.initdb, [...args, "--encoding=UTF8", "--locale=C", "--data-checksums"], {
      ...account,
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      cwd: "/",
    });
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw new Error(`initdb failed: ${(error as { stderr?: string }).stderr?.trim() || (error as Error).message}`);
  } finally {
    rmSync(passwords, { force: true });
  }
}

const RULES = `# Loopback and TLS only, everyone with a password; anything else is refused.
hostssl all ${SUPERUSER} ${HOST}/32 scram-sha-256
hostssl ${DATABASE} all ${HOST}/32 scram-sha-256
`;

function writeSettings(home: Home, dir: string, port: number, account: Account | undefined): void {
  const { cert, key } = certificateFiles(home, "postgres");
  const settings = {
    listen_addresses: `'${HOST}'`,
    port,
    unix_socket_directories: "''",
    max_connections: 100,
    password_encryption: "'scram-sha-256'",
    ssl: "on",
    ssl_cert_file: "'server.crt'",
    ssl_key_file: "'server.key'",
    ssl_min_protocol_version: "'TLSv1.2'",
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    logging_collector: "off",
    log_line_prefix: "'%q%u '",
    // Statements, and the details of an error, may carry personal data.
    log_min_error_statement: "panic",
    log_error_verbosity: "terse",
    timezone: "'UTC'",
    jit: "off",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  copyFileSync(cert, join(dir, "server.crt"));
  writeWhole(join(dir, "server.key"), readFileSync(key));
  writeWhole(join(dir, "postgresql.auto.conf"), `# Written at every start.\n${lines.join("\n")}\n`);
  writeWhole(join(dir, "pg_hba.conf"), RULES);
  if (!account) return;
  for (const name of ["server.crt", "server.key", "postgresql.auto.conf", "pg_hba.conf"]) {
    chownSync(join(dir, name), account.uid, account.gid);
  }
}

/** SIGINT is Postgres' fast shutdown: sessions are ended, nothing is lost. */
export function clusterProcess(cluster: Cluster, onReady: () => Promise<void>): ProcessSpec {
  return {
    name: "postgres",
    command: cluster.binaries.postgres,
    args: ["-D", cluster.dir],
    env: { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" },
    cwd: "/",
    user: cluster.account,
    ipc: false,
    stopSignal: "SIGINT",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    readyTimeoutMs: READY_TIMEOUT_MS,
    // A session is the proof: while it recovers, it listens and refuses.
    ready: async () => true,
    onReady,
  };
}
