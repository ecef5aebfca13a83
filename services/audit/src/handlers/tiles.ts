/**
 * The log as static files (c2sp.org/tlog-tiles), for tools that we did not write. Checkpoint and hash tiles say nothing
 * about any request and are open; entry bundles are the records, and need an auditor's bearer token.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  AppError,
  asAppError,
  type Db,
  type Logger,
  runInScope,
  startHttpCall,
  toHttpStatus,
} from "@sallyport/runtime";
import {
  checkpointPath,
  encodeEntryBundle,
  parseTilePath,
  type Tile,
  TlogError,
  tilePath,
  tileWidthAt,
} from "@sallyport/tlog";
import type { Heads } from "../core/heads.ts";
import { recordPage, tileBytes } from "../db/read.ts";

const maxPathLength = 100;
const immutable = "public, max-age=31536000, immutable";

export interface TilesContext {
  readonly db: Db;
  readonly heads: Heads;
  readonly log: Logger;
  /** Throws unless the bearer of this token may read records. */
  readonly authorise: (bearer: string | undefined) => Promise<unknown>;
}

interface Answer {
  readonly type: string;
  readonly cache: string;
  readonly body: Uint8Array | string;
}

/** Answers one request. Never rejects. */
export async function serveTiles(context: TilesContext, request: IncomingMessage, response: ServerResponse) {
  const call = startHttpCall(request.method ?? "", routeOf(request.url), undefined);
  let failure: unknown;
  response.once("close", () => call.end(response.writableFinished ? response.statusCode : 499, failure));
  try {
    const { type, cache, body } = await runInScope(call.scope, () => answer(context, request));
    response.writeHead(200, { "content-type": type, "cache-control": cache, "x-content-type-options": "nosniff" });
    response.end(request.method === "HEAD" ? undefined : body);
  } catch (error) {
    failure = error;
    const { message, code } = asAppError(error);
    const status = toHttpStatus(error);
    if (status >= 500) context.log.error({ err: error, path: request.url?.slice(0, maxPathLength) }, "tile not served");
    const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
    response.writeHead(status, code === "UNAUTHENTICATED" ? { ...headers, "www-authenticate": "Bearer" } : headers);
    response.end(`${message}\n`);
  }
}

/** Of a path only its kind: there are as many tiles as the log is long. */
function routeOf(url = ""): string {
  if (url === `/${checkpointPath}`) return `/${checkpointPath}`;
  const [, level] = /^\/tile\/([^/]+)\//.exec(url) ?? [];
  return level === undefined ? "none" : level === "entries" ? "/tile/entries" : "/tile/hashes";
}

async function answer(context: TilesContext, { method, url, headers }: IncomingMessage): Promise<Answer> {
  if (method !== "GET" && method !== "HEAD") throw new AppError("INVALID_ARGUMENT", "GET or HEAD only");
  const path = url?.slice(1) ?? "";
  if (path === checkpointPath) {
    const { checkpoint } = await context.heads.read();
    return { type: "text/plain; charset=utf-8", cache: "no-cache", body: checkpoint };
  }
  const tile = readPath(path);
  if (tile.level !== "entries") return octets(await hashTile(context, tile), immutable);
  await context.authorise(bearerOf(headers.authorization));
  return octets(await entryBundle(context, tile), immutable.replace("public", "private"));
}

async function hashTile({ db }: TilesContext, tile: Tile): Promise<Uint8Array> {
  const bytes = (await tileBytes(db, [tile])).get(tilePath(tile));
  if (bytes === undefined) throw missing();
  return bytes;
}

async function entryBundle({ db, heads }: TilesContext, tile: Tile): Promise<Uint8Array> {
  const { size } = (await heads.read()).frontier;
  if (tileWidthAt("entries", tile.index, size) < tile.width) throw missing();
  const from = tile.index * 256;
  const page = { from, end: from + tile.width, events: [], limit: tile.width };
  const records = await recordPage(db, page);
  if (records.length !== tile.width)
    throw new AppError("INTERNAL", "the log does not verify", { reason: "LOG_DAMAGED" });
  return encodeEntryBundle(records.map(({ json }) => json));
}

function readPath(path: string): Tile {
  try {
    if (path.length <= maxPathLength) return parseTilePath(path);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
  }
  throw missing();
}

function bearerOf(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^Bearer ([!-~]{1,8192})$/i.exec(header)?.[1];
}

function octets(body: Uint8Array, cache: string): Answer {
  return { type: "application/octet-stream", cache, body };
}

function missing(): AppError {
  return new AppError("NOT_FOUND", "the log has no such tile");
}
