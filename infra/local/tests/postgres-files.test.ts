import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { canReach } from "../postgres/account.ts";
import { copyBinaries, prepareBinaries } from "../postgres/binaries.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "sallyport-pgfiles-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A package as npm unpacks it when its install script was not run: no symlinks, nothing executable. */
function unpacked(): string {
  const native = join(dir, "package", "native");
  for (const folder of ["bin", "lib"]) mkdirSync(join(native, folder), { recursive: true });
  for (const file of ["bin/postgres", "bin/initdb", "lib/libpq.so.5.18"])
    writeFileSync(join(native, file), "", { mode: 0o644 });
  const links = [{ source: "native/lib/libpq.so.5.18", target: "native/lib/libpq.so.5" }];
  writeFileSync(join(native, "pg-symlinks.json"), JSON.stringify(links));
  writeFileSync(join(dir, "package", "package.json"), JSON.stringify({ version: "1.2.3" }));
  return native;
}

describe("the packaged Postgres", () => {
  test("runs also where npm was told to run no install scripts: links and modes are put right", () => {
    const native = unpacked();
    const { postgres, initdb } = prepareBinaries(native);
    expect(readlinkSync(join(native, "lib", "libpq.so.5"))).toBe("libpq.so.5.18");
    for (const path of [postgres, initdb]) expect(statSync(path).mode & 0o555).toBe(0o555);
    expect(prepareBinaries(native)).toEqual({ postgres, initdb });
  });

  test("is copied once for a user who cannot walk to it, and the copy works likewise", () => {
    const copy = copyBinaries(unpacked(), join(dir, "away"));
    prepareBinaries(copy);
    expect(copy).toBe(join(dir, "away", "postgres-1.2.3"));
    expect(readlinkSync(join(copy, "lib", "libpq.so.5"))).toBe("libpq.so.5.18");
    writeFileSync(join(copy, "mark"), "kept");
    expect(readFileSync(join(copyBinaries(join(dir, "package", "native"), join(dir, "away")), "mark"), "utf8")).toBe(
      "kept",
    );
  });

  test("another user reaches a folder only when every folder above lets it pass", () => {
    const nobody = { uid: 65_534, gid: 65_534 };
    mkdirSync(join(dir, "closed", "open"), { recursive: true, mode: 0o755 });
    expect(canReach("/usr/bin", nobody)).toBe(true);
    expect(canReach(join(dir, "closed", "open"), nobody)).toBe(false);
  });
});
