// npm leaves an optional platform package out of the lock file when the registry it was resolved
// against does not serve it, and `npm ci` then refuses that lock file wherever the registry does
// (npm/cli#4828). This adds the missing entries, by exact version and platform, without integrity:
// npm takes that from the registry on the platform that installs it.
// Use: node infra/local/complete-lock.mjs [--check]
import { readFileSync, writeFileSync } from "node:fs";

const OS = { darwin: "darwin", mac: "darwin", win: "win32", win32: "win32", windows: "win32", android: "android" };
const CPU = { x64: "x64", 64: "x64", arm64: "arm64", armv7: "arm", armv7l: "arm", arm: "arm", riscv64: "riscv64" };

/** Lists `{ name, version, dev }` of optional dependencies pinned by a locked package but absent from the lock. */
export function missingEntries(lock) {
  const missing = new Map();
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const nested = `${path}/node_modules/${name}`;
      if (lock.packages[nested] || lock.packages[`node_modules/${name}`]) continue;
      missing.set(name, { name, version, dev: entry.dev === true });
    }
  }
  return [...missing.values()];
}

/** A lock entry whose os and cpu come from the package's name; throws where the name tells neither. */
export function platformEntry({ name, version, dev }) {
  const words = name.split("/").at(-1).split(/[-_]/);
  const os = words.map((word) => OS[word] ?? (word === "linux" ? "linux" : undefined)).find(Boolean);
  const cpu = words.map((word) => CPU[word]).find(Boolean);
  if (!os || !cpu || !/^\d+\.\d+\.\d+/.test(version)) throw new Error(`cannot tell the platform of ${name}@${version}`);
  const libc = words.includes("musl") ? { libc: ["musl"] } : {};
  const bin = words[0] === "node" ? { bin: { node: "bin/node" } } : {};
  return { version, cpu: [cpu], ...(dev ? { dev: true } : {}), ...libc, optional: true, os: [os], ...bin };
}

function main() {
  const path = new URL("../../package-lock.json", import.meta.url);
  const lock = JSON.parse(readFileSync(path, "utf8"));
  const missing = missingEntries(lock);
  if (process.argv.includes("--check")) {
    for (const { name, version } of missing) console.error(`package-lock.json lacks ${name}@${version}`);
    process.exitCode = missing.length ? 1 : 0;
    return;
  }
  for (const entry of missing) lock.packages[`node_modules/${entry.name}`] = platformEntry(entry);
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
  lock.packages = Object.fromEntries(sorted);
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added ${missing.length} platform entries to package-lock.json`);
}

if (process.argv[1] && import.meta.url === new URL(`file://${process.argv[1]}`).href) main();
