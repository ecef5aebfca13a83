import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { loadTrustBundle } from "@sallyport/attestation";
import { waitFor } from "@sallyport/runtime/testing";
import { leafHash, parseVkey, verifyProof } from "@sallyport/tlog";
import type { Tour } from "../tour.ts";

export async function proven(tour: Tour): Promise<void> {
  tour.title("The proof of each, verified offline");
  tour.say(
    "Each outcome is a leaf of an append-only Merkle log. A receipt is the record and its inclusion proof under a signed checkpoint.",
  );
  const { trustBundle, trustRoot } = tour.endpoints;
  const trust = loadTrustBundle(readFileSync(trustBundle), createPublicKey(readFileSync(trustRoot)), new Date());
  const log = { origin: trust.logs[0]!.origin, keys: trust.logs.map(({ vkey }) => parseVkey(vkey)) };
  for (const { what, requestId } of tour.ended) {
    const receipt = (await waitFor(
      "the receipt",
      () => tour.generation.getReceipt({ requestId }, tour.as("user")).catch(() => undefined),
      { timeoutMs: 10_000 },
    ))!;
    const { index, checkpoint } = verifyProof(receipt.proof, leafHash(receipt.record), log);
    tour.must(true, `${what}: leaf ${index} of ${checkpoint.size}`);
    const altered = new TextEncoder().encode(
      new TextDecoder().decode(receipt.record).replace(
        requestId,
        requestId.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
      ),
    );
    tour.must(
      refuses(() => verifyProof(receipt.proof, leafHash(altered), log)),
      "the same record with one digit changed is refused",
    );
  }
  tour.say("Do it yourself: npx sallyport receipt ID --out r.json && npx sallyport audit verify r.json");
}

function refuses(verify: () => unknown): boolean {
  try {
    verify();
    return false;
  } catch {
    return true;
  }
}
