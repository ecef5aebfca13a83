/** The signed manifest of approved models (KV `models`, key `manifest`), read strictly: what does not fit is refused whole. */
import { z } from "zod";

const model = z.object({
  name: z.string().min(1),
  version: z.string(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  engine: z.string(),
  contextTokens: z.int().min(0),
  tier: z.string().min(1),
  approvedAt: z.iso.datetime(),
});
const manifest = z.object({ models: z.array(model) });

export type ServedModel = Readonly<z.infer<typeof model>>;
export type Manifest = Readonly<z.infer<typeof manifest>>;

export const readManifest = (value: unknown): Manifest => manifest.parse(value);
