import { generateKeyPairSync } from "node:crypto";
import {
  append,
  emptyFrontier,
  type Frontier,
  type HashReader,
  leafHash,
  type NoteSigner,
  newHashTiles,
  rootOf,
  type Tile,
  tilePath,
} from "../src/index.ts";

/** A log kept in memory: every complete subtree and every head, for tests. */
export type MemoryLog = { entries: Uint8Array[]; heads: Frontier[]; read: HashReader };

export function memoryLog(size: number, entryOf = (i: number) => Buffer.from(`entry ${i}`)): MemoryLog {
  const nodes = new Map<string, Uint8Array>();
  const heads: Frontier[] = [emptyFrontier];
  const entries: Uint8Array[] = [];
  for (let i = 0; i < size; i++) {
    const entry = new Uint8Array(entryOf(i));
    const { frontier, closed } = append(heads[i]!, leafHash(entry));
    for (const { level, index, hash } of closed) nodes.set(`${level}/${index}`, hash);
    entries.push(entry);
    heads.push(frontier);
  }
  const read: HashReader = (level, index) => {
    const hash = nodes.get(`${level}/${index}`);
    if (hash === undefined) throw new Error(`the log has no subtree ${level}/${index}`);
    return hash;
  };
  return { entries, heads, read };
}

/** Bytes of every hash tile of the log at `size`, by path. */
export function tilesOf({ read }: MemoryLog, size: number): Map<string, Uint8Array> {
  return new Map(newHashTiles(0, size).map((tile) => [tilePath(tile), tileBytes(tile, read)]));
}

export function tileBytes({ level, index, width }: Tile, read: HashReader): Uint8Array {
  if (level === "entries") throw new Error("not a hash tile");
  const hashes = Array.from({ length: width }, (_, i) => read(level * 8, index * 256 + i));
  return new Uint8Array(Buffer.concat(hashes));
}

export function rootAt(log: MemoryLog, size: number): Uint8Array {
  return rootOf(log.heads[size]!);
}

export function newSigner(name: string): NoteSigner {
  return { name, privateKey: generateKeyPairSync("ed25519").privateKey };
}

export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
