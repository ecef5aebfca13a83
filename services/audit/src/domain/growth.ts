import { append, type Frontier, type Hash, tileWidth } from "@sallyport/tlog";

/** Hashes that a tile gains at its end. `offset`: how many it has before. */
export interface TileGrowth {
  readonly level: number;
  readonly index: number;
  readonly offset: number;
  readonly hashes: Hash[];
}

/** What appending `leaves` does to a tree: its new frontier, and what its tiles gain. */
export function growTree(head: Frontier, leaves: readonly Hash[]): { head: Frontier; tiles: TileGrowth[] } {
  const tiles = new Map<string, TileGrowth>();
  let frontier = head;
  for (const leaf of leaves) {
    const step = append(frontier, leaf);
    frontier = step.frontier;
    for (const { level, index, hash } of step.closed) {
      // Tiles hold every eighth level; the hashes between are computed from them.
      if (level % 8 !== 0) continue;
      const tile = Math.floor(index / tileWidth);
      const key = `${level}/${tile}`;
      if (!tiles.has(key)) tiles.set(key, { level: level / 8, index: tile, offset: index % tileWidth, hashes: [] });
      tiles.get(key)!.hashes.push(hash);
    }
  }
  return { head: frontier, tiles: [...tiles.values()] };
}

/** A frontier's hashes as one value, and back. */
export function joinFrontier({ hashes }: Frontier): Uint8Array {
  return new Uint8Array(Buffer.concat(hashes));
}

export function splitFrontier(size: number, joined: Uint8Array): Frontier {
  const hashes = Array.from({ length: joined.length / 32 }, (_, i) => joined.slice(i * 32, i * 32 + 32));
  return { size, hashes };
}
