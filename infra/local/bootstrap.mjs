// The door of `npm start`, `npm test` and `npm run demo`: plain JavaScript that runs on Node 20 or newer
// with nothing installed. It brings node_modules up to the lock file, then hands over to Node 24.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_MIN = 20;
const NPM_MIN = 10;
const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const MODULES = join(ROOT, "node_modules");
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const STAMP = join(MODULES, ".sallyport-lock");

main().catch((error) => fail(error instanceof Error ? error.message : String(error)));

async function main() {
  checkNode(process.versions.node);
  const hash = lockHash();
  if (!isInstalled(hash)) {
    if (!matchesLock()) await install();
    linkNode24();
    writeFileSync(STAMP, hash);
  }
  process.exitCode = await runNode24(process.argv.slice(2));
}

function checkNode(version) {
  if (Number(version.split(".")[0]) >= NODE_MIN) return;
  fail(
    `Node ${version} is too old. Install Node ${NODE_MIN} or newer (https://nodejs.org/en/download), then run this again.`,
  );
}

function lockHash() {
  const lock = readFileSync(join(ROOT, "package-lock.json"));
  return createHash("sha256").update(lock).update(`${process.platform}-${process.arch}`).digest("hex");
}

function isInstalled(hash) {
  return existsSync(STAMP) && readFileSync(STAMP, "utf8") === hash && findNode24() !== undefined;
}

/** Whether an `npm install` by hand already put every required package there: npm keeps its own account of that. */
function matchesLock() {
  const account = join(MODULES, ".package-lock.json");
  if (!existsSync(account) || !findNode24()) return false;
  const installed = JSON.parse(readFileSync(account, "utf8")).packages;
  const locked = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  return Object.entries(locked).every(([path, entry]) => {
    if (!path.includes("node_modules/") || entry.optional) return true;
    return existsSync(join(ROOT, path)) && installed[path]?.version === entry.version;
  });
}

async function install() {
  const env = { ...process.env, PATH: pathWithoutModules() };
  const npm = findNpm(env);
  console.log(
    `[setup] npm ci: installing what package-lock.json pins (npm ${npm.version}; a minute or two the first time)`,
  );
  const started = Date.now();
  const args = [
    "ci",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    "--progress=true",
    "--include=dev",
    "--include=optional",
  ];
  const code = await run(npm.command, [...npm.args, ...args], { cwd: ROOT, env });
  if (code !== 0) fail(`npm ci failed with exit code ${code}: see its message above. Is a package registry reachable?`);
  if (!findNode24()) {
    fail(
      `npm installed no Node 24 for ${process.platform}-${process.arch}. Supported: Linux and macOS on x64 and arm64.`,
    );
  }
  console.log(`[setup] installed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function findNpm(env) {
  // Under `npm start` this is the very npm that the user called; else the one on the PATH.
  const script = process.env.npm_execpath;
  const viaScript = script && /npm-cli\.js$/.test(script) && existsSync(script);
  const found = viaScript ? { command: systemNode(env), args: [script] } : { command: "npm", args: [] };
  const { stdout, status } = spawnSync(found.command, [...found.args, "--version"], { env, encoding: "utf8" });
  if (status !== 0) fail("npm was not found. It comes with Node: install Node 20 or newer, then run this again.");
  const version = stdout.trim();
  if (Number(version.split(".")[0]) < NPM_MIN) {
    fail(
      `npm ${version} is too old, ${NPM_MIN} or newer is needed: run \`npm install -g npm@11\`, then run this again.`,
    );
  }
  return { ...found, version };
}

/** `npm ci` deletes node_modules: neither npm nor its scripts may run on the Node that lies in it. */
function systemNode(env) {
  if (!process.execPath.startsWith(MODULES)) return process.execPath;
  for (const dir of (env.PATH ?? "").split(delimiter)) {
    const candidate = join(dir, "node");
    if (dir && isExecutable(candidate)) return candidate;
  }
  return process.execPath;
}

function pathWithoutModules() {
  const dirs = (process.env.PATH ?? "").split(delimiter);
  return dirs.filter((dir) => !dir.startsWith(MODULES)).join(delimiter);
}

/** The platform's package, as it lies: whether npm linked it to .bin or not. */
function findNode24() {
  const { platform, arch } = process;
  const names = [`node-${platform}-${arch}`, `node-bin-${platform}-${arch}`];
  const candidates = names.map((name) => join(MODULES, name, "bin", "node"));
  return candidates.find((path) => isExecutable(path));
}

/** npm 10 drops the link when it leaves out the other platforms' packages, whose program has the same name. */
function linkNode24() {
  const link = join(MODULES, ".bin", "node");
  if (isExecutable(link)) return;
  rmSync(link, { force: true });
  symlinkSync(relative(join(MODULES, ".bin"), findNode24()), link);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function runNode24(args) {
  const node = findNode24();
  const path = [join(MODULES, ".bin"), join(node, ".."), pathWithoutModules()].join(delimiter);
  const env = { ...process.env, PATH: path, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" };
  const main = join(ROOT, "infra", "local", "main.ts");
  return run(node, ["--disable-warning=ExperimentalWarning", main, ...args], { cwd: process.cwd(), env });
}

/** Runs to the end and resolves with the exit code. Signals are passed on; what runs here takes a repeated one in its stride. */
function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: "inherit" });
    const pass = (signal) => child.kill(signal);
    for (const name of SIGNALS) process.on(name, pass);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      for (const name of SIGNALS) process.off(name, pass);
      resolve(code ?? 128 + (osConstants.signals[signal] ?? 1));
    });
  });
}

function fail(message) {
  console.error(`[setup] ${message}`);
  process.exit(1);
}
