import { randomBytes } from "node:crypto";
import { createRequestSecret } from "@sallyport/attestation";
import { createLogger } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { expect, test } from "vitest";
import { startVaultRotation } from "../src/core/vault-rotation.ts";
import { findKey, insertVault } from "../src/db/vault.ts";
import { readMasterKeys } from "../src/domain/master-key.ts";
import { auditDatabase } from "./database.ts";

test("every key is wrapped under a new master key while the service runs, and opens without the former one", async () => {
  await using db = await auditDatabase();
  const [former, next] = [hexKey(), hexKey()];
  let keys = readMasterKeys(former);
  const listeners = new Set<(value: typeof keys) => void>();
  const masters = {
    get current() {
      return keys;
    },
    onChange: (listener: (value: typeof keys) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.dispose]: () => {},
  };
  const secrets = new Map(Array.from({ length: 1_203 }, (_, i) => [`r${i}`, createRequestSecret()]));
  const entries = [...secrets].map(([requestId, secret]) => {
    const { newest } = readMasterKeys(former);
    const key = { wrapping: "master" as const, wrapped: newest.wrap(secret, requestId), masterId: newest.id };
    return { requestId, recordIndex: 0, bodies: [], key };
  });
  await db.transaction(async (tx) => insertVault(tx, entries, new Date()));
  // A row of the time before keys had names.
  await db.query("UPDATE vault_keys SET master_id = NULL WHERE request_id = 'r7'");

  await using _rotation = startVaultRotation({ db, masters, log: createLogger("audit", "error") });
  keys = readMasterKeys(`${next}\n${former}\n`);
  for (const listener of listeners) listener(keys);
  const { newest } = readMasterKeys(next);
  const under = async () => {
    const { rows } = await db.query<{ count: string }>("SELECT count(*) FROM vault_keys WHERE master_id = $1", [
      newest.id,
    ]);
    return Number(rows[0]!.count);
  };
  await waitFor("all keys under the new master key", async () => (await under()) === secrets.size);
  for (const [requestId, secret] of secrets) {
    const key = await findKey(db, requestId);
    expect(key?.wrapping === "master" && newest.unwrap(key.wrapped, requestId)).toEqual(secret);
  }
});

test("a key that the file does not hold any more is named, not guessed", () => {
  const keys = readMasterKeys(hexKey());
  expect(() => keys.byId(readMasterKeys(hexKey()).newest.id)).toThrow(/is not in the file/);
  expect(() => readMasterKeys(Array.from({ length: 9 }, hexKey).join("\n"))).toThrow(RangeError);
});

function hexKey(): string {
  return randomBytes(32).toString("hex");
}
