import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SourceContext } from "./find.ts";
import { capture } from "./version.ts";

const TIMEOUT_MS = 3 * 60_000;
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Debian's newest: the stable release has a server that is too old. */
export function fromDebian(context: SourceContext): Promise<string> {
  return unpackDebian("nats-server", { ...context, suite: "sid" });
}

/**
 * The program of a Debian package of the same name, from the mirror that this machine already uses, unpacked and not
 * installed: apt checks the archive's signatures, works in `scratch` and needs no root. Resolves with the program's path.
 */
export async function unpackDebian(
  name: string,
  { env, scratch, log, suite }: SourceContext & { suite: string },
): Promise<string> {
  const mirror = await debianMirror(env);
  const sources = join(scratch, "sources.list");
  writeFileSync(sources, `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
  for (const dir of ["lists/partial", "archives/partial", "root"]) mkdirSync(join(scratch, dir), { recursive: true });
  const options = privateApt(scratch, sources);
  log(`Debian package: reading the index of ${suite}`);
  await capture("apt-get", [...options, "update"], { timeoutMs: TIMEOUT_MS, env, cwd: scratch });
  await capture("apt-get", [...options, "download", name], { timeoutMs: TIMEOUT_MS, env, cwd: scratch });
  const deb = readdirSync(scratch).find((file) => file.startsWith(`${name}_`) && file.endsWith(".deb"));
  if (!deb) throw new Error("apt-get downloaded no package");
  const root = join(scratch, "root");
  await capture("dpkg-deb", ["-x", join(scratch, deb), root], { timeoutMs: TIMEOUT_MS, env });
  const path = ["usr/sbin", "usr/bin"].map((dir) => join(root, dir, name)).find((file) => existsSync(file));
  if (!path) throw new Error(`${deb} holds no ${name}`);
  return path;
}

async function debianMirror(env: NodeJS.ProcessEnv): Promise<string> {
  const format = "$(ORIGIN)|$(REPO_URI)";
  const targets = await capture("apt-get", ["indextargets", "--format", format], { timeoutMs: 20_000, env });
  const mirrors = targets
    .split("\n")
    .flatMap((line) => (line.startsWith("Debian|") ? [line.slice("Debian|".length)] : []));
  const mirror = mirrors.find((uri) => /\/debian\/?$/.test(uri)) ?? mirrors[0];
  if (!mirror) throw new Error("this machine's apt lists no Debian mirror (run `apt-get update` once)");
  return mirror;
}

function privateApt(scratch: string, sources: string): string[] {
  const settings = {
    "Dir::Etc::SourceList": sources,
    "Dir::Etc::SourceParts": "-",
    "Dir::State::Lists": join(scratch, "lists"),
    "Dir::Cache": scratch,
    "Dir::Cache::Archives": join(scratch, "archives"),
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
  };
  return ["-qq", ...Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`])];
}
