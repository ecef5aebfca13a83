import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The same cache of server binaries that `npm start` uses. */
export function binCacheDir(): string {
  const home = process.env.SALLYPORT_HOME ?? fileURLToPath(new URL("../../../.sallyport/", import.meta.url));
  const dir = join(home, "bin");
  mkdirSync(dir, { recursive: true });
  return dir;
}
