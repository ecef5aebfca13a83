/** What each watched key says: made from the tables in the transaction that changes them, and signed as the next version. */
import { createHash } from "node:crypto";
import { BREAK_GLASS, canonicalBytes, decodeEnvelopeJson, type Json, parseCanonical } from "@sallyport/attestation";
import { apiTokenShardKey, apiTokenShards, readSwitches, type Tx } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { listBound } from "../db/certificates.ts";
import { listAllModels } from "../db/models.ts";
import { lockState, type StoredState } from "../db/signed-state.ts";
import { endedAmong, listHolding } from "../db/switches.ts";
import { listShard } from "../db/tokens.ts";
import { certificatesValue, tokensValue } from "../domain/credential.ts";
import { manifestOf } from "../domain/model.ts";
import { switchesValue } from "../domain/switch.ts";
import { type Place, signNext } from "./signed-state.ts";

export const manifestPlace = { bucket: "models", key: "manifest" } as const;
export const policyPlace = { bucket: "policy", key: "active" } as const;
export const switchesPlace = { bucket: "switches", key: "active" } as const;
const certificatesPlace = { bucket: "credentials", key: "certificates" } as const;
const tokensPlace = (key: string) => ({ bucket: "credentials", key }) as const;

/** At the very first start: empty values, so that no reader is stale for lack of a key. */
export async function signFirstValues(context: Context): Promise<void> {
  await context.db.transaction(async (tx) => {
    await signManifest(context, tx);
    await signSwitches(context, tx);
    await signCertificates(context, tx);
    for (let shard = 0; shard < apiTokenShards; shard += 1) await signTokens(context, tx, apiTokenShardKey(shard));
  });
}

/** In the transaction that moved a model. */
export function signManifest(context: Context, tx: Tx): Promise<StoredState> {
  return sign(context, tx, manifestPlace, async () => manifestOf(await listAllModels(tx)));
}

/** In the transaction that changed a switch. */
export function signSwitches(context: Context, tx: Tx): Promise<StoredState> {
  return sign(context, tx, switchesPlace, async () => {
    const breakGlass = await lockState(tx, BREAK_GLASS.bucket, BREAK_GLASS.key);
    const ids = breakGlass ? breakGlassIds(breakGlass) : [];
    return switchesValue(await listHolding(tx), await endedAmong(tx, ids));
  });
}

/** In the transaction that changed a token of the shard with this key. */
export function signTokens(context: Context, tx: Tx, key: string): Promise<StoredState> {
  return sign(context, tx, tokensPlace(key), async () => tokensValue(await listShard(tx, key)));
}

/** In the transaction that changed a binding. */
export function signCertificates(context: Context, tx: Tx): Promise<StoredState> {
  return sign(context, tx, certificatesPlace, async () => certificatesValue(await listBound(tx)));
}

/** Of what was verified when it was adopted. */
function breakGlassIds({ envelope }: StoredState): string[] {
  const { value } = parseCanonical(decodeEnvelopeJson(envelope).payload) as { value: Json };
  return readSwitches(value).switches.map(({ id }) => id);
}

async function sign(context: Context, tx: Tx, place: Place, make: () => Promise<Json>): Promise<StoredState> {
  // The lock comes first: of two changes at once the later one reads what the earlier one stored.
  await lockState(tx, place.bucket, place.key);
  const value = await make();
  const digest = createHash("sha256").update(canonicalBytes(value)).digest("hex");
  return (await signNext(context, tx, place, digest, value)).state;
}
