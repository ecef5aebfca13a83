/** What an operator does in an emergency: signs switches with the break-glass key and puts them on the bus, past governance. */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { BREAK_GLASS, createSigner, encodeEnvelopeJson, type Json, signState } from "@sallyport/attestation";
import type { Platform } from "@sallyport/infra/platform";
import { signingKeyFile } from "../../infra/local/trust.ts";
import { connectAs } from "./bus-user.ts";

/** Resolves once the bus has it. */
export async function breakGlass(platform: Platform, switches: readonly object[]): Promise<void> {
  await using operator = await connectAs(platform, "operator");
  const key = createPrivateKey(readFileSync(signingKeyFile(platform.home, "operator")));
  const { bucket, key: name } = BREAK_GLASS;
  const value = { switches } as unknown as Json;
  const state = { bucket, key: name, version: Date.now(), value, issuedAt: new Date().toISOString() };
  const envelope = encodeEnvelopeJson(signState(createSigner(key, "switch"), state));
  await operator.ask(`$KV.${bucket}.${name}`, envelope);
}
