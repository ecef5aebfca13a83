/** What a power cut does to the bus's files, done to them while the server is down. */
import { existsSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { between, type Random } from "../support/random.ts";

/** Folders of the streams, by name. */
function streamDirs(storeDir: string): Map<string, string> {
  const accounts = join(storeDir, "jetstream");
  const dirs = readdirSync(accounts)
    .map((account) => join(accounts, account, "streams"))
    .filter(existsSync)
    .flatMap((streams) => readdirSync(streams).map((name) => [name, join(streams, name)] as const));
  return new Map(dirs);
}

/**
 * Cuts off the end of each stream's newest block, as if the last writes had never reached the disk, and the index with it,
 * which is written later than they are. Returns how many bytes are gone.
 */
export function loseTails(storeDir: string, random: Random): number {
  let lost = 0;
  for (const [, dir] of streamDirs(storeDir)) {
    const messages = join(dir, "msgs");
    if (!existsSync(messages)) continue;
    const newest = readdirSync(messages)
      .filter((name) => name.endsWith(".blk"))
      .sort((one, other) => Number.parseInt(one, 10) - Number.parseInt(other, 10))
      .at(-1);
    const most = between(random, 1, 8_192);
    if (newest === undefined) continue;
    const block = join(messages, newest);
    const { size } = statSync(block);
    const cut = Math.min(most, size);
    truncateSync(block, size - cut);
    lost += cut;
    rmSync(join(messages, "index.db"), { force: true });
  }
  return lost;
}

/** Forgets what each consumer had acknowledged: everything that the streams still have is delivered again. */
export function forgetAcks(storeDir: string): number {
  let forgotten = 0;
  for (const [, dir] of streamDirs(storeDir)) {
    const consumers = join(dir, "obs");
    for (const name of existsSync(consumers) ? readdirSync(consumers) : []) {
      const state = join(consumers, name, "o.dat");
      if (!existsSync(state)) continue;
      rmSync(state);
      forgotten += 1;
    }
  }
  return forgotten;
}
