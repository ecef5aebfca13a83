import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { downloads, findNatsServer, type Source } from "../nats-server/find.ts";
import { assertSource, GO_MODULE_SUM } from "../nats-server/go.ts";
import { unpackRelease } from "../nats-server/release.ts";
import { NATS_VERSION, newerOrEqual } from "../nats-server/version.ts";

let dir: string;
let cacheDir: string;
let lines: string[];
const log = (line: string) => lines.push(line);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "sallyport-find-"));
  cacheDir = join(dir, "cache");
  mkdirSync(cacheDir);
  lines = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A program that says it is a nats-server of that version. */
function server(folder: string, version: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "nats-server");
  writeFileSync(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(path, 0o755);
  return path;
}

const bringing = (name: string, version: string): Source => ({
  name,
  bring: async ({ scratch }) => server(join(scratch, "out"), version),
});
const failing = (name: string): Source => ({
  name,
  bring: async () => {
    throw new Error("out of reach");
  },
});

describe("where nats-server comes from", () => {
  test("the setting goes before the PATH, the PATH before the cache", async () => {
    const [set, onPath] = [server(join(dir, "set"), "2.14.0"), server(join(dir, "path"), "2.13.0")];
    server(cacheDir, "2.15.0");
    const env = { SALLYPORT_NATS_SERVER: set, PATH: join(dir, "path") };
    expect(await findNatsServer({ cacheDir, env, log, sources: [] })).toMatchObject({ path: set, version: "2.14.0" });
    const next = { PATH: join(dir, "path") };
    expect(await findNatsServer({ cacheDir, env: next, log, sources: [] })).toMatchObject({ path: onPath });
    expect(await findNatsServer({ cacheDir, env: {}, log, sources: [] })).toMatchObject({ source: "cache" });
  });

  test("an older version on the PATH is passed over, with a line that says so", async () => {
    server(join(dir, "path"), "2.9.10");
    const env = { PATH: join(dir, "path") };
    const found = await findNatsServer({ cacheDir, env, log, sources: [failing("one"), bringing("two", "2.15.1")] });
    expect(found).toEqual({ path: join(cacheDir, "nats-server"), version: "2.15.1", source: "two" });
    expect(lines[0]).toMatch(/PATH: .*is 2\.9\.10, 2\.12\.0 or newer is needed/);
    expect(lines[1]).toMatch(/one: out of reach/);
  });

  test("what was fetched is found in the cache the next time, and nothing else is left there", async () => {
    await findNatsServer({ cacheDir, env: {}, log, sources: [bringing("one", "2.15.1")] });
    expect(readdirSync(cacheDir)).toEqual(["nats-server"]);
    expect(await findNatsServer({ cacheDir, env: {}, log, sources: [] })).toMatchObject({ source: "cache" });
  });

  test("a source that brings an old server does not count", async () => {
    const found = findNatsServer({ cacheDir, env: {}, log, sources: [bringing("one", "2.11.9")] });
    await expect(found).rejects.toThrow(/SALLYPORT_NATS_SERVER/);
    expect(existsSync(join(cacheDir, "nats-server"))).toBe(false);
  });

  test("the sources are tried in the documented order", () => {
    expect(downloads.map(({ name }) => name)).toEqual(["official release", "go install", "Debian package"]);
  });
});

describe("what is downloaded is what was pinned", () => {
  const body = Buffer.from("the server");
  const header = Buffer.alloc(512);
  header.write("nats-server-v0/nats-server");
  header.write(`${body.length.toString(8).padStart(11, "0")}\0`, 124);
  header.write("0", 156);
  const archive = gzipSync(Buffer.concat([header, body, Buffer.alloc(512 - body.length), Buffer.alloc(1024)]));
  const sum = createHash("sha256").update(archive).digest("hex");

  test("an archive with the pinned checksum is unpacked", () => {
    expect(unpackRelease(archive, sum).toString()).toBe("the server");
  });

  test("any other archive is refused before it is opened", () => {
    const other = Buffer.from(archive);
    other[other.length - 1]! ^= 1;
    expect(() => unpackRelease(other, sum)).toThrow(/checksum .* refused/);
  });

  test("a build from other sources than the pinned ones is refused", () => {
    const info = (version: string, hash: string) =>
      `x: go1.26\n\tmod\tgithub.com/nats-io/nats-server/v2\t${version}\t${hash}\n`;
    expect(() => assertSource(info(`v${NATS_VERSION}`, GO_MODULE_SUM))).not.toThrow();
    expect(() => assertSource(info(`v${NATS_VERSION}`, "h1:other"))).toThrow(/refused/);
    expect(() => assertSource(info("v2.15.0", GO_MODULE_SUM))).toThrow(/refused/);
    expect(() => assertSource("nothing of use")).toThrow(/refused/);
  });

  test("versions compare by number", () => {
    expect(newerOrEqual("2.12.0", "2.12.0")).toBe(true);
    expect(newerOrEqual("2.9.10", "2.12.0")).toBe(false);
    expect(newerOrEqual("10.0.0", "2.12.0")).toBe(true);
  });
});
