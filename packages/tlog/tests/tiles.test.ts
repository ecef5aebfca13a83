import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeEntryBundle,
  inclusionProof,
  leafHash,
  newHashTiles,
  parseEntryBundle,
  parseTilePath,
  type Tile,
  TlogError,
  tileHashReader,
  tilePath,
  tilesRead,
  verifyInclusion,
} from "../src/index.ts";
import { memoryLog, rootAt, tilesOf } from "./memory-log.ts";

describe("tile paths", () => {
  it("are spelled as the specification's examples", () => {
    expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe("tile/0/x001/x234/067");
    expect(tilePath({ level: "entries", index: 0, width: 17 })).toBe("tile/entries/000.p/17");
    expect(tilePath({ level: 63, index: 1000, width: 1 })).toBe("tile/63/x001/000.p/1");
  });

  it("parse back to the tile they name", () => {
    fc.assert(
      fc.property(arbitraryTile(), (tile) => {
        expect(parseTilePath(tilePath(tile))).toEqual(tile);
      }),
    );
  });

  it.each([
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/01",
    "tile/0/x000/001",
    "tile/0/1234",
    "tile/0/001/234",
    "tile/0/x001",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/000/",
    "tile/0/000.p/",
    "/tile/0/000",
    "tile/0/../000",
    "tile/entries/000\n",
    "tile/data/000",
    "tile/0/x999/x999/x999/x999/x999/999",
  ])("%j is refused", (path) => {
    expect(() => parseTilePath(path)).toThrow(TlogError);
  });
});

describe("hash tiles", () => {
  it("of a tree of 70,000 leaves are those that the specification counts", () => {
    const tiles = newHashTiles(0, 70_000);
    const at = (level: number) => tiles.filter((tile) => tile.level === level);
    expect(at(0)).toHaveLength(274);
    expect(at(0).at(-1)).toEqual({ level: 0, index: 273, width: 112 });
    expect(at(1)).toEqual([
      { level: 1, index: 0, width: 256 },
      { level: 1, index: 1, width: 17 },
    ]);
    expect(at(2)).toEqual([{ level: 2, index: 0, width: 1 }]);
    expect(tiles).toHaveLength(277);
  });

  it("of a tree of 256 leaves are one full tile and a partial one above it", () => {
    expect(newHashTiles(0, 256)).toEqual([
      { level: 0, index: 0, width: 256 },
      { level: 1, index: 0, width: 1 },
    ]);
  });

  it("new since an older tree are those that grew, and only those", () => {
    expect(newHashTiles(255, 257)).toEqual([
      { level: 0, index: 0, width: 256 },
      { level: 0, index: 1, width: 1 },
      { level: 1, index: 0, width: 1 },
    ]);
    expect(newHashTiles(300, 300)).toEqual([]);
  });

  it("are enough for every inclusion proof, with the tiles named beforehand", () => {
    const size = 1000;
    const log = memoryLog(size);
    const tiles = tilesOf(log, size);
    for (let index = 0; index < size; index += 7) {
      const needed = new Map(
        tilesRead(size, (read) => inclusionProof(index, size, read)).map((tile) => [
          tilePath(tile),
          tiles.get(tilePath(tile))!,
        ]),
      );
      const read = tileHashReader(size, (tile) => needed.get(tilePath(tile))!);
      const proof = inclusionProof(index, size, read);
      verifyInclusion(index, size, leafHash(log.entries[index]!), proof, rootAt(log, size));
    }
  });

  it("of the wrong length, or beyond the tree, are refused", () => {
    expect(() => tileHashReader(10, () => new Uint8Array(32))(0, 0)).toThrow(TlogError);
    expect(() => tileHashReader(10, () => new Uint8Array(320))(0, 10)).toThrow(TlogError);
    expect(() => tileHashReader(10, () => new Uint8Array(320))(3, 1)).toThrow(TlogError);
  });
});

describe("entry bundles", () => {
  it("carry any entries of up to 65,535 bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), (entries) => {
        expect(parseEntryBundle(encodeEntryBundle(entries), entries.length)).toEqual(entries);
      }),
      { numRuns: 50 },
    );
    const longest = new Uint8Array(65_535).fill(7);
    expect(parseEntryBundle(encodeEntryBundle([longest]), 1)).toEqual([longest]);
    expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(TlogError);
    expect(() => encodeEntryBundle([])).toThrow(TlogError);
  });

  it("cut short, with bytes left over, or with another count are refused", () => {
    const bundle = encodeEntryBundle([Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
    expect(() => parseEntryBundle(bundle.slice(0, -1), 2)).toThrow(TlogError);
    expect(() => parseEntryBundle(bundle, 1)).toThrow(TlogError);
    expect(() => parseEntryBundle(bundle, 3)).toThrow(TlogError);
    expect(() => parseEntryBundle(bundle.slice(0, 6), 2)).toThrow(TlogError);
  });
});

function arbitraryTile(): fc.Arbitrary<Tile> {
  return fc.record({
    level: fc.oneof(fc.integer({ min: 0, max: 63 }), fc.constant("entries" as const)),
    index: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    width: fc.integer({ min: 1, max: 256 }),
  });
}
