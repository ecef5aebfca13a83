import { execFile, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missingEntries, platformEntry } from "../complete-lock.mjs";
import { readCounts } from "../gate.ts";
import { REPOSITORY } from "../home.ts";

const INSTALL_TIMEOUT_MS = 300_000;
let clone: string;

/** The files of this checkout that git knows or would take, and nothing that was installed or built. */
beforeAll(() => {
  clone = mkdtempSync(join(tmpdir(), "sallyport-clone-"));
  const list = execFileSync("git", ["ls-files", "-z", "-c", "-o", "--exclude-standard"], {
    cwd: REPOSITORY,
    encoding: "utf8",
  });
  for (const file of list.split("\0")) {
    const isModel = file.startsWith("models/") && file !== "models/package.json";
    if (!file || isModel || !existsSync(join(REPOSITORY, file))) continue;
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(REPOSITORY, file), join(clone, file));
  }
}, 60_000);
afterAll(() => rmSync(clone, { recursive: true, force: true }));

function bootstrap(...args: string[]): Promise<{ code: number; output: string }> {
  // As a user's shell has it: without the checkout's own programs.
  const PATH = process.env
    .PATH!.split(":")
    .filter((part) => !part.includes("node_modules"))
    .join(":");
  const { npm_execpath: _, SALLYPORT_HOME: __, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(
      "node",
      [join(clone, "infra/local/bootstrap.mjs"), ...args],
      { env: { ...env, PATH } },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
      },
    );
  });
}

describe("a clean clone", () => {
  test(
    "installs what the lock file pins, and hands over to Node 24 from it",
    async () => {
      const { code, output } = await bootstrap("status");
      expect(output).toMatch(/npm ci/);
      expect(output).toMatch(/Nothing runs on/);
      expect(code).toBe(2);
      const version = execFileSync(join(clone, "node_modules", ".bin", "node"), ["--version"], { encoding: "utf8" });
      expect(version).toMatch(/^v24\./);
    },
    INSTALL_TIMEOUT_MS,
  );

  test("installs nothing the second time, nor after an install by hand", async () => {
    expect((await bootstrap("status")).output).not.toMatch(/npm ci/);
    rmSync(join(clone, "node_modules", ".sallyport-lock"));
    expect((await bootstrap("status")).output).not.toMatch(/npm ci/);
  });

  test("an unknown command is answered with the usage and exit code 64", async () => {
    const { code, output } = await bootstrap("fly");
    expect(code).toBe(64);
    expect(output).toMatch(/usage: npm start/);
  });
});

describe("the lock file", () => {
  const lock = JSON.parse(readFileSync(join(REPOSITORY, "package-lock.json"), "utf8")) as {
    packages: Record<string, { resolved?: string; link?: boolean }>;
  };

  test("names no registry and lacks no platform", () => {
    const addresses = Object.values(lock.packages).filter(({ resolved, link }) => resolved && !link);
    expect(addresses).toEqual([]);
    expect(missingEntries(lock)).toEqual([]);
  });

  test("a platform package that could not be seen is entered with the platform of its name", () => {
    const entry = (name: string) => platformEntry({ name, version: "1.2.3", dev: true });
    expect(entry("@biomejs/cli-linux-arm64-musl")).toMatchObject({ os: ["linux"], cpu: ["arm64"], libc: ["musl"] });
    expect(entry("@turbo/windows-64")).toMatchObject({ os: ["win32"], cpu: ["x64"] });
    expect(() => entry("something-else")).toThrow(/platform/);
  });
});

test("the gate's count: all reports together, a file that does not load is a failure, no report is no test", () => {
  const dir = join(clone, "reports");
  mkdirSync(dir);
  expect(readCounts(dir)).toEqual({ passed: 0, failed: 0, skipped: 0 });
  const broken = { status: "failed", assertionResults: [] };
  const fine = { status: "passed", assertionResults: [{ status: "passed" }] };
  const report = { numPassedTests: 3, numFailedTests: 1, numPendingTests: 2, numTodoTests: 1 };
  writeFileSync(join(dir, "units.json"), JSON.stringify({ ...report, testResults: [broken, fine] }));
  writeFileSync(join(dir, "system.json"), JSON.stringify({ ...report, testResults: [fine] }));
  expect(readCounts(dir)).toEqual({ passed: 6, failed: 3, skipped: 6 });
});
