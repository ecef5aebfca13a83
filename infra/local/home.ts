import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const REPOSITORY = resolve(fileURLToPath(new URL("../..", import.meta.url)));

/** Where everything of one platform lies: data, keys, logs. One home is one platform. */
export interface Home {
  readonly root: string;
  /** Shared by every home of this checkout: the nats-server found or built once. */
  readonly binDir: string;
  readonly postgresDir: string;
  readonly natsDir: string;
  readonly auditDir: string;
  readonly modelsDir: string;
  readonly pkiDir: string;
  readonly keysDir: string;
  readonly trustDir: string;
  /** Offline in a real installation: the operator's root key, which no service may read. */
  readonly operatorDir: string;
  readonly secretsDir: string;
  readonly credentialsDir: string;
  readonly logsDir: string;
  readonly runDir: string;
  readonly issuerDir: string;
  readonly endpointsFile: string;
}

export function defaultHome(): string {
  return process.env.SALLYPORT_HOME ? resolve(process.env.SALLYPORT_HOME) : join(REPOSITORY, ".sallyport");
}

/** Makes the folders of a home, readable by their owner alone. */
export function openHome(path: string): Home {
  const root = resolve(path);
  const home: Home = {
    root,
    binDir: join(REPOSITORY, ".sallyport", "bin"),
    postgresDir: join(root, "postgres"),
    natsDir: join(root, "nats"),
    auditDir: join(root, "audit"),
    modelsDir: join(root, "models"),
    pkiDir: join(root, "pki"),
    keysDir: join(root, "keys"),
    trustDir: join(root, "trust"),
    operatorDir: join(root, "operator"),
    secretsDir: join(root, "secrets"),
    credentialsDir: join(root, "credentials"),
    logsDir: join(root, "logs"),
    runDir: join(root, "run"),
    issuerDir: join(root, "issuer"),
    endpointsFile: join(root, "endpoints.json"),
  };
  // Postgres runs as another user when started by root, and must be able to walk to its folder.
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const closed = Object.entries(home).filter(
    ([name]) => name.endsWith("Dir") && name !== "postgresDir" && name !== "binDir",
  );
  for (const [, dir] of closed) mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const dir of [home.postgresDir, home.binDir]) mkdirSync(dir, { recursive: true, mode: 0o755 });
  return home;
}
