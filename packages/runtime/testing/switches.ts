import { BREAK_GLASS, encodeEnvelopeJson, type Json, type Signer, signState } from "@sallyport/attestation";
import type { Bus } from "../src/bus/index.ts";
import { putState } from "../src/state.ts";

let last = 0;

/**
 * Signs and stores what is switched off: as governance does with its state key, as an operator does with the break-glass
 * one. Every door refuses until it has read governance's.
 */
export async function publishSwitches(
  bus: Pick<Bus, "putValue">,
  signer: Signer,
  switches: readonly object[] = [],
  more: { lifted?: readonly string[] } = {},
): Promise<void> {
  last = Math.max(last + 1, Date.now());
  const { bucket } = BREAK_GLASS;
  const key = signer.stage === "switch" ? BREAK_GLASS.key : "active";
  const value = { switches, ...more } as unknown as Json;
  const state = { bucket, key, version: last, value, issuedAt: new Date().toISOString() };
  await putState(bus, bucket, key, encodeEnvelopeJson(signState(signer, state)));
}
