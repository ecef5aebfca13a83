import { accessSync, chmodSync, constants, mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const REPOSITORY = resolve(fileURLToPath(new URL("../..", import.meta.url)));

/** Where everything of one platform lies: data, keys, logs. One home is one platform. */
export interface Home {
  readonly root: string;
  /** Shared by every home of this checkout: the nats-server found or built once. */
  readonly binDir: string;
  /** Compiled code of the services (NODE_COMPILE_CACHE), shared likewise: a start takes half the time with it. */
  readonly compileCacheDir: string;
  readonly postgresDir: string;
  readonly natsDir: string;
  readonly modelsDir: string;
  readonly pkiDir: string;
  readonly keysDir: string;
  readonly trustDir: string;
  /** Offline in a real installation, and no service may read it: the operator's root key, and what break-glass needs. */
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

/** `.sallyport/` of the checkout, or undefined where it is not ours to write to. */
function sharedDir(): string | undefined {
  const dir = join(REPOSITORY, ".sallyport");
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    accessSync(dir, constants.W_OK);
    return dir;
  } catch {
    return undefined;
  }
}

/** Where everything of a home lies. Makes nothing. */
export function homeAt(path: string, shared = resolve(path)): Home {
  const root = resolve(path);
  return {
    root,
    binDir: join(shared, "bin"),
    compileCacheDir: join(shared, "compile-cache"),
    postgresDir: join(root, "postgres"),
    natsDir: join(root, "nats"),
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
}

/** Folders that are not for their owner alone. */
export const OPEN_DIRS: readonly string[] = ["postgresDir", "binDir", "compileCacheDir"];

/** Makes the folders of a home, readable by their owner alone. */
export function openHome(path: string): Home {
  const home = homeAt(path, sharedDir());
  const { root } = home;
  mkdirSync(root, { recursive: true, mode: 0o755 });
  // Postgres runs as another user when started by root, and must be able to walk to its folder; what else lies here is
  // closed by itself.
  if (process.getuid?.() === 0) chmodSync(root, statSync(root).mode | 0o011);
  const closed = Object.entries(home).filter(([name]) => name.endsWith("Dir") && !OPEN_DIRS.includes(name));
  for (const [, dir] of closed) mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const dir of [home.postgresDir, home.binDir, home.compileCacheDir])
    mkdirSync(dir, { recursive: true, mode: 0o755 });
  return home;
}
