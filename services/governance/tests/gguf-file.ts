/** Writes small GGUF files, sound ones and ones with a single thing wrong. */

export interface GgufParts {
  magic?: string;
  version?: number;
  /** Metadata as [key, type, encoded value]; by default an architecture and its context length. */
  pairs?: [string, number, Buffer][];
  pairCount?: bigint;
  tensors?: { name?: string; sizes?: bigint[]; type?: number; offset?: bigint }[];
  tensorCount?: bigint;
  /** Bytes after the header (alignment included); by default enough for one 4 × 2 tensor of F32. */
  data?: number;
  /** Makes otherwise equal files different. */
  salt?: number;
}

export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
export const u64 = (value: bigint | number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
export const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

export function ggufFile(parts: GgufParts = {}): Buffer {
  const pairs = parts.pairs ?? [
    ["general.architecture", 8, text("llama")],
    ["llama.context_length", 4, u32(1_024)],
  ];
  const tensors = parts.tensors ?? [{}];
  const header = Buffer.concat([
    Buffer.from(parts.magic ?? "GGUF"),
    u32(parts.version ?? 3),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.pairCount ?? pairs.length),
    ...pairs.flatMap(([key, type, value]) => [text(key), u32(type), value]),
    ...tensors.map(({ name = "w", sizes = [4n, 2n], type = 0, offset = 0n }) =>
      Buffer.concat([text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset)]),
    ),
  ]);
  const padding = (32 - (header.length % 32)) % 32;
  return Buffer.concat([header, Buffer.alloc(padding + (parts.data ?? 32), parts.salt ?? 0)]);
}
