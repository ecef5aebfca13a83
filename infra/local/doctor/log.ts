/** The audit log, read as anybody's tool would (c2sp.org/tlog-tiles): its records add up to the head that it signed. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadTrustBundle, readRootKey } from "@sallyport/attestation";
import {
  append,
  checkpointPath,
  emptyFrontier,
  type Hash,
  hashesEqual,
  leafHash,
  openCheckpoint,
  parseEntryBundle,
  parseVkey,
  rootOf,
  TlogError,
  tilePath,
  tileWidth,
  tileWidthAt,
} from "@sallyport/tlog";
import { trustFiles } from "../trust.ts";
import { away, type Finding, fail, ok, type Subject, said, warn } from "./finding.ts";

const fetchTimeoutMs = 10_000;
/** Reading more than this takes minutes: an auditor's tool does that. */
const mostRecords = 1_000_000;

export async function examineLog(subject: Subject): Promise<Finding[]> {
  const { endpoints } = subject;
  if (!endpoints) return [away({ ...subject, running: false }, "log", "")];
  const base = endpoints.auditHttp;
  let checkpoint: ReturnType<typeof openCheckpoint>;
  try {
    const note = await get(`${base}/${checkpointPath}`);
    checkpoint = openCheckpoint(Buffer.from(note).toString("utf8"), trustOf(subject));
  } catch (error) {
    if (error instanceof TlogError) return [untrue(`its head is refused: ${error.message}`)];
    return [away(subject, "log", `its head cannot be read at ${base}: ${said((error as Error).cause ?? error)}`)];
  }
  const { size, root } = checkpoint;
  if (size > mostRecords)
    return [warn("log", `${size} records are too many to read here`, "Verify it with an auditor's tool.")];
  try {
    const token = auditorToken(subject);
    let frontier = emptyFrontier;
    for (let index = 0; index * tileWidth < size; index += 1)
      for (const leaf of await leavesOf(base, index, size, token)) frontier = append(frontier, leaf).frontier;
    if (!hashesEqual(rootOf(frontier), root))
      return [untrue(`its ${size} records do not add up to the head that it signed`)];
    return [ok("log", `${size} ${token ? "records" : "hashes"} add up to the head that it signed`)];
  } catch (error) {
    if (error instanceof TlogError) return [untrue(error.message)];
    return [away(subject, "log", `it cannot be read: ${said((error as Error).cause ?? error)}`)];
  }
}

/** From the records themselves where we may read them, otherwise as the log's own tiles have them. */
async function leavesOf(base: string, index: number, size: number, token: string | undefined): Promise<Hash[]> {
  const width = tileWidthAt(0, index, size);
  if (token) {
    const bundle = await get(`${base}/${tilePath({ level: "entries", index, width })}`, token);
    return parseEntryBundle(bundle, width).map((entry) => leafHash(entry));
  }
  const tile = await get(`${base}/${tilePath({ level: 0, index, width })}`);
  return Array.from({ length: width }, (_, at) => tile.slice(at * 32, at * 32 + 32));
}

function trustOf({ home, now }: Subject) {
  const files = trustFiles(home);
  const bundle = loadTrustBundle(readFileSync(files.bundle), readRootKey(readFileSync(files.root, "utf8")), now);
  const [log] = bundle.logs;
  return { origin: log!.origin, keys: bundle.logs.map(({ vkey }) => parseVkey(vkey)) };
}

function auditorToken({ home }: Subject): string | undefined {
  const file = join(home.credentialsDir, "auditor.token");
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

async function get(url: string, token?: string): Promise<Uint8Array> {
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(fetchTimeoutMs) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function untrue(what: string): Finding {
  return fail(
    "log",
    what,
    "Keep the home as it is: somebody or something changed the log. Compare it with receipts and older checkpoints.",
  );
}
