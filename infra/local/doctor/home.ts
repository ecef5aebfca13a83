/** Node, the home's folders and files, and room on its disk. */
import { existsSync, readdirSync, statfsSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { OPEN_DIRS } from "../home.ts";
import { type Finding, fail, ok, type Subject, summed, warn } from "./finding.ts";

const neededNode = 24;
const mebibyte = 1024 * 1024;
const scarceBytes = 2_048 * mebibyte;
const tooLittleBytes = 256 * mebibyte;

export function examineNode(): Finding[] {
  const { version, versions } = process;
  if (Number(versions.node.split(".")[0]) >= neededNode) return [ok("node", version)];
  return [fail("node", `${version} runs this`, `Use Node ${neededNode}: npm install brings it.`)];
}

export function examineHome({ home, endpoints }: Subject): Finding[] {
  if (!existsSync(home.root))
    return [
      fail("home", `${home.root} is not there`, "Start the platform once (npm start), or name its home with --home."),
    ];
  if (!endpoints)
    return [
      fail(
        "home",
        "endpoints.json is not there, or not JSON",
        "Start the platform: it writes it once everything is ready.",
      ),
    ];
  return [ok("home", home.root)];
}

/** Keys, passwords and tokens are for their owner's eyes: 0700 for folders, 0600 for files. */
export function examinePermissions({ home }: Subject): Finding[] {
  const folders = Object.entries(home)
    .filter(([name]) => name.endsWith("Dir") && !OPEN_DIRS.includes(name))
    .map(([, path]) => path as string)
    .filter(existsSync);
  // Certificates and public keys are for everybody.
  const secret = [home.operatorDir, home.keysDir, home.secretsDir, home.credentialsDir, home.pkiDir]
    .flatMap(filesOf)
    .filter((path) => !/\.(crt|pub)$/.test(path));
  const open = [...folders, ...secret].filter((path) => (statSync(path).mode & 0o077) !== 0);
  const faults = open.map((path) => {
    const stat = statSync(path);
    const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
    const name = relative(home.root, path);
    return fail(
      "permissions",
      `${name} is open to others (${mode})`,
      `chmod ${stat.isDirectory() ? "700" : "600"} ${path}`,
    );
  });
  return summed("permissions", faults, `${folders.length} folders and ${secret.length} secret files are closed`);
}

function filesOf(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(dir, entry.name));
}

export function examineDisk({ home }: Subject): Finding[] {
  const { bavail, bsize } = statfsSync(home.root);
  return diskFindings(bavail * bsize);
}

export function diskFindings(freeBytes: number): Finding[] {
  const what = `${Math.floor(freeBytes / mebibyte)} MiB free for database, bus, log and models`;
  const mend =
    "Make room, or move the home to a larger disk: a full disk stops every write, and what cannot be recorded is refused.";
  if (freeBytes < tooLittleBytes) return [fail("disk", what, mend)];
  return [freeBytes < scarceBytes ? warn("disk", what, mend) : ok("disk", what)];
}
