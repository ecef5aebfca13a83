/** Wraps every request's key anew when the master key is rotated, batch by batch, while the service works. */
import { type Db, gauge, type Logger, type Reloaded } from "@sallyport/runtime";
import { adoptUnnamed, countUnderFormer, lockUnderFormer, updateWraps } from "./db/vault.ts";
import type { MasterKeys } from "./domain/master-key.ts";

const batch = 500;
const againAfterMs = 5_000;

const waiting = gauge(
  "sallyport_vault_keys_under_former_master_key",
  "Keys of requests that are not wrapped anew yet: at 0 the former master key may be removed from its file.",
);

export interface VaultRotationOptions {
  readonly db: Db;
  readonly masters: Reloaded<MasterKeys>;
  readonly log: Logger;
}

/** Begins now, and again at each change of the keys. A batch that fails is tried again later; nothing is ever lost. */
export function startVaultRotation({ db, masters, log }: VaultRotationOptions): AsyncDisposable {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const run = async () => {
    await adoptUnnamed(db, masters.current.oldest.id);
    for (;;) {
      waiting.set({}, await countUnderFormer(db, masters.current.newest.id));
      if (stopped || (await wrapAnew(db, masters.current)) === 0) break;
    }
    // A record that was on its way when the key changed may come under the former one.
    if (masters.current.all.length > 1) later();
  };
  const later = () => {
    if (!stopped) timer = setTimeout(start, againAfterMs).unref();
  };
  let running = Promise.resolve();
  const start = () => {
    clearTimeout(timer);
    running = running.then(run).catch((err: unknown) => {
      log.error({ err }, "the vault's keys are not all wrapped under the newest master key; trying again");
      later();
    });
  };
  const stopListening = masters.onChange(start);
  start();
  return {
    async [Symbol.asyncDispose]() {
      stopped = true;
      clearTimeout(timer);
      stopListening();
      await running;
    },
  };
}

/** How many were wrapped anew. */
async function wrapAnew(db: Db, { newest, byId }: MasterKeys): Promise<number> {
  return await db.transaction(async (tx) => {
    const rows = await lockUnderFormer(tx, newest.id, batch);
    const wraps = rows.map(({ requestId, wrapped, masterId }) => ({
      requestId,
      wrapped: newest.wrap(byId(masterId).unwrap(wrapped, requestId), requestId),
    }));
    await updateWraps(tx, newest.id, wraps);
    return rows.length;
  });
}
