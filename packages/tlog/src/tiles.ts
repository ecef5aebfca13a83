import { parseDecimal } from "./encoding.ts";
import { check } from "./errors.ts";
import { checkSize, type Hash, type HashReader, nodeHash } from "./merkle.ts";

/** Hashes in a full tile, and entries in a full bundle (c2sp.org/tlog-tiles). */
export const tileWidth = 256;

/** The longest entry that a bundle can carry: its length is a uint16. */
export const maxEntryBytes = 65_535;

/** The path, under a log's prefix, of its signed head. */
export const checkpointPath = "checkpoint";

/**
 * One tile: `level` 0 to 63 for hashes, "entries" for a bundle of entries; `index` counts tiles within the level;
 * `width` is how many hashes or entries it has, 256 for a full one.
 */
export type Tile = { readonly level: number | "entries"; readonly index: number; readonly width: number };

/** The tile's path under the log's prefix, such as `tile/0/x001/234` or `tile/entries/000.p/17`. */
export function tilePath(tile: Tile): string {
  checkTile(tile);
  const elements: string[] = [];
  for (let n = tile.index; elements.length === 0 || n > 0; n = Math.floor(n / 1000)) {
    elements.unshift(`${elements.length > 0 ? "x" : ""}${String(n % 1000).padStart(3, "0")}`);
  }
  const partial = tile.width === tileWidth ? "" : `.p/${tile.width}`;
  return `tile/${tile.level}/${elements.join("/")}${partial}`;
}

const pathForm = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** Parses exactly what `tilePath` writes; anything else throws. */
export function parseTilePath(path: string): Tile {
  const match = pathForm.exec(path);
  check(match !== null, "format", "not a tile path");
  const level = match[1] === "entries" ? "entries" : parseDecimal(match[1]!, "the tile level");
  const index = Number(match[2]!.replaceAll(/[x/]/g, ""));
  const tile: Tile = { level, index, width: match[3] === undefined ? tileWidth : Number(match[3]) };
  check(match[3] === undefined || tile.width < tileWidth, "format", "a partial tile is 1 to 255 wide");
  // Leading x000 elements and the like are other spellings of a path that already exists.
  check(tilePath(tile) === path, "format", "not the canonical path of a tile");
  return tile;
}

/** How wide tile `index` of `level` is in a tree of `size` leaves: 0 (it does not exist) to 256. */
export function tileWidthAt(level: number | "entries", index: number, size: number): number {
  checkSize(size);
  const hashes = level === "entries" ? size : Math.floor(size / 256 ** level);
  return Math.min(Math.max(hashes - index * tileWidth, 0), tileWidth);
}

/** The tile, as wide as a tree of `size` leaves has it, that holds the subtree hash (`level`, `index`). */
function tileOfHash(level: number, index: number, size: number): Tile {
  const tileLevel = Math.floor(level / 8);
  const tileIndex = Math.floor((index * 2 ** (level % 8)) / tileWidth);
  const width = tileWidthAt(tileLevel, tileIndex, size);
  const firstHash = (index * 2 ** (level % 8)) % tileWidth;
  check(firstHash + 2 ** (level % 8) <= width, "range", "the subtree is not complete in a tree of this size");
  return { level: tileLevel, index: tileIndex, width };
}

/** Every hash tile of a tree of `size` leaves that a tree of `oldSize` leaves does not have in this width. */
export function newHashTiles(oldSize: number, size: number): Tile[] {
  check(oldSize <= size, "range", "the old tree is larger than the new one");
  const tiles: Tile[] = [];
  for (let level = 0; 256 ** level <= size; level++) {
    const before = Math.floor(oldSize / 256 ** level);
    const now = Math.floor(size / 256 ** level);
    if (before === now) continue;
    for (let index = Math.floor(before / tileWidth); index * tileWidth < now; index++) {
      tiles.push({ level, index, width: tileWidthAt(level, index, size) });
    }
  }
  return tiles;
}

/** A reader of subtree hashes over tile bytes. `bytesOf` is asked for tiles of the tree of `size` leaves. */
export function tileHashReader(size: number, bytesOf: (tile: Tile) => Uint8Array): HashReader {
  return (level, index) => {
    const tile = tileOfHash(level, index, size);
    const bytes = bytesOf(tile);
    check(bytes.length === tile.width * 32, "range", "the tile does not have the bytes of its width");
    const first = (index * 2 ** (level % 8)) % tileWidth;
    return subtreeHash(bytes, first, 2 ** (level % 8));
  };
}

/** The tiles that `use` reads through its hash reader, so that they can be fetched before it runs for good. */
export function tilesRead(size: number, use: (read: HashReader) => unknown): Tile[] {
  const tiles = new Map<string, Tile>();
  use((level, index) => {
    const tile = tileOfHash(level, index, size);
    tiles.set(tilePath(tile), tile);
    return new Uint8Array(32);
  });
  return [...tiles.values()];
}

/** Joins entries (at most 256, each at most 65,535 bytes) with big-endian uint16 lengths. */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  check(entries.length >= 1 && entries.length <= tileWidth, "range", "a bundle has 1 to 256 entries");
  const parts = entries.flatMap((entry) => {
    check(entry.length <= maxEntryBytes, "range", "an entry is longer than 65,535 bytes");
    return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** Splits a bundle that must hold exactly `width` entries and not a byte more. */
export function parseEntryBundle(bundle: Uint8Array, width: number): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < width) {
    check(at + 2 <= bundle.length, "format", "the bundle ends before its last entry");
    const length = bundle[at]! * 256 + bundle[at + 1]!;
    check(at + 2 + length <= bundle.length, "format", "the bundle ends inside an entry");
    entries.push(bundle.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  check(at === bundle.length, "format", "the bundle has bytes after its last entry");
  return entries;
}

function subtreeHash(tile: Uint8Array, first: number, count: number): Hash {
  if (count === 1) return tile.slice(first * 32, first * 32 + 32);
  const halfCount = count / 2;
  return nodeHash(subtreeHash(tile, first, halfCount), subtreeHash(tile, first + halfCount, halfCount));
}

function checkTile({ level, index, width }: Tile): void {
  check(level === "entries" || (Number.isInteger(level) && level >= 0 && level <= 63), "format", "no such tile level");
  check(Number.isSafeInteger(index) && index >= 0, "format", "no such tile index");
  check(Number.isInteger(width) && width >= 1 && width <= tileWidth, "format", "a tile is 1 to 256 wide");
}
