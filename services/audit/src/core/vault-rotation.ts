/** Wraps every request's key anew when the master key is rotated, batch by batch, while the service works. */
import { type Db, gauge, type Logger, periodically, type Reloaded } from "@sallyport/runtime";
import { adoptUnnamed, countUnderFormer, lockUnderFormer, updateWraps } from "../db/vault.ts";
import type { MasterKeys } from "../domain/master-key.ts";

const batch = 500;
const everyMs = 5_000;

const waiting = gauge(
  "sallyport_vault_keys_under_former_master_key",
  "Keys of requests that are not wrapped anew yet: at 0 the former master key may be removed from its file.",
);

export interface VaultRotationOptions {
  readonly db: Db;
  readonly masters: Reloaded<MasterKeys>;
  readonly log: Logger;
}

/** A batch a round, until the keys have nothing left to wrap anew; a changed file begins at once. Nothing is ever lost. */
export function startVaultRotation({ db, masters, log }: VaultRotationOptions): AsyncDisposable {
  const stack = new AsyncDisposableStack();
  let finished: MasterKeys | undefined;
  const what = "wrap the vault's keys under the newest master key";
  const rounds = periodically(log, everyMs, what, async () => {
    const keys = masters.current;
    if (keys === finished) return;
    await adoptUnnamed(db, keys.oldest.id);
    waiting.set({}, await countUnderFormer(db, keys.newest.id));
    if ((await wrapAnew(db, keys)) > 0) rounds.hasten();
    // With several, a record that was on its way when the key changed may still come under a former one.
    else if (keys.all.length === 1) finished = keys;
  });
  stack.use(rounds);
  stack.defer(masters.onChange(() => rounds.hasten()));
  return stack;
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
