import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { SourceContext } from "./find.ts";
import { NATS_VERSION } from "./version.ts";

const TIMEOUT_MS = 90_000;
const TAR_BLOCK = 512;

/** SHA-256 of the release's archives, from its SHA256SUMS. */
const RELEASE_SUMS: Readonly<Record<string, string>> = {
  "linux-amd64": "bf5edc7b1ce98e885c368cb43a886eb148dc5d0551d99f3cf6141fb5e1954c70",
  "linux-arm64": "e2fbab4cad7d3c76e3052eb959570393c9d73ba756b70bf8e9eea61e9ae6d49c",
};

/** The pinned archive of the project's release page, refused unless its checksum is the pinned one. */
export async function fromRelease({ scratch }: SourceContext): Promise<string> {
  const platform = `${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
  const sum = RELEASE_SUMS[platform];
  if (!sum) throw new Error(`no checksum is pinned for ${platform}`);
  const name = `nats-server-v${NATS_VERSION}-${platform}`;
  const url = `https://github.com/nats-io/nats-server/releases/download/v${NATS_VERSION}/${name}.tar.gz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const binary = unpackRelease(Buffer.from(await response.arrayBuffer()), sum);
  const path = join(scratch, "nats-server");
  writeFileSync(path, binary, { mode: 0o755 });
  return path;
}

/** Throws unless `archive` has the SHA-256 `sum` (hex); returns the bytes of its nats-server. */
export function unpackRelease(archive: Buffer, sum: string): Buffer {
  const actual = createHash("sha256").update(archive).digest("hex");
  if (actual !== sum) throw new Error(`the archive's checksum is ${actual}, pinned is ${sum}: refused`);
  return tarEntry(gunzipSync(archive), "nats-server");
}

/** Contents of the first regular file of that base name in a ustar archive (POSIX.1-1988). */
function tarEntry(tar: Buffer, baseName: string): Buffer {
  for (let at = 0; at + TAR_BLOCK <= tar.length; ) {
    const header = tar.subarray(at, at + TAR_BLOCK);
    const name = header.toString("latin1", 0, 100).replace(/\0.*$/s, "");
    const size = Number.parseInt(header.toString("latin1", 124, 136).trim() || "0", 8);
    const isFile = header[156] === 0x30 || header[156] === 0;
    at += TAR_BLOCK;
    if (isFile && name.split("/").at(-1) === baseName) return tar.subarray(at, at + size);
    at += Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  throw new Error(`the archive holds no ${baseName}`);
}
