import {
  append,
  emptyFrontier,
  type Frontier,
  frontierAt,
  leafHash,
  newHashTiles,
  tileHashReader,
} from "@sallyport/tlog";
import { describe, expect, it } from "vitest";
import { growTree, joinFrontier, splitFrontier } from "./growth.ts";

const leaves = Array.from({ length: 66_000 }, (_, i) => leafHash(Buffer.from(String(i))));

describe("growTree", () => {
  it("grows tiles, batch by batch, to those of the whole tree", () => {
    const tiles = new Map<string, Uint8Array>();
    let head: Frontier = emptyFrontier;
    for (const size of [1, 2, 255, 256, 257, 300, 511, 512, 513, 65_535, 65_536, 65_537, 66_000]) {
      const grown = growTree(head, leaves.slice(head.size, size));
      for (const { level, index, offset, hashes } of grown.tiles) {
        const before = tiles.get(`${level}/${index}`) ?? new Uint8Array();
        expect(before.length).toBe(offset * 32);
        tiles.set(`${level}/${index}`, new Uint8Array(Buffer.concat([before, ...hashes])));
      }
      head = grown.head;
      expect(head.size).toBe(size);
      expect(tiles.size).toBe(newHashTiles(0, size).length);
      const read = tileHashReader(size, (tile) => tiles.get(`${tile.level}/${tile.index}`)!.slice(0, tile.width * 32));
      expect(frontierAt(size, read)).toEqual(head);
    }
  });

  it("leaves the head alone when there is nothing to append", () => {
    expect(growTree(emptyFrontier, [])).toEqual({ head: emptyFrontier, tiles: [] });
  });
});

it("a frontier survives being stored", () => {
  const { frontier } = append(append(append(emptyFrontier, leaves[0]!).frontier, leaves[1]!).frontier, leaves[2]!);
  expect(splitFrontier(3, joinFrontier(frontier))).toEqual(frontier);
});
