/** P5: only approved models ran. P7: nothing that was held went out without a reviewer's word and door 2's hand on it. */

import { fromBinary } from "@bufbuild/protobuf";
import { decodeStatement } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { jobOf, type LedgerRow, type StoredHold, verifierOf } from "../../kit/index.ts";
import type { Evidence } from "../support/evidence.ts";
import { byRequest, type LoggedRecord } from "../support/log.ts";
import { attempt, type Find, finding, type Violation } from "./violation.ts";

export function checkModels({ rows, fresh, approvedModels, records, trust, secrets }: Evidence): Violation[] {
  return finding("P5", (find) => {
    for (const row of rows) {
      if (!row.claim || !fresh.has(row.id)) continue;
      const ran = attempt(find, "a claim does not hold", row.id, () => {
        verifierOf(trust, row, secrets.get(row.id)!);
        return decodeStatement(fromBinary(EnvelopeSchema, row.claim!).payload).predicate.modelDigest;
      });
      if (ran && !approvedModels.has(ran)) find("a model ran that nobody approved", row.id);
    }
    for (const { event, request } of records)
      if (event === "request.released" && !approvedModels.has(request?.modelDigest ?? ""))
        find("the log says that an unapproved model's output was released", request?.id);
  });
}

export function checkReviews({ rows, fresh, holds, records }: Evidence): Violation[] {
  return finding("P7", (find) => {
    const logged = byRequest(records);
    for (const row of rows.filter(({ id }) => fresh.has(id))) {
      const held = holds.filter(({ requestId }) => requestId === row.id);
      for (const hold of held.filter(({ allowed }) => allowed)) checkWord(row, hold, logged.get(row.id) ?? [], find);
      checkGone(row, held, find);
    }
  });
}

/** What a door had held went out only where the ledger says that a person let it go. */
function checkGone(row: LedgerRow, held: readonly StoredHold[], find: Find): void {
  const { id, state, windowsReleased } = row;
  const [prompt, output] = (["door1", "door2"] as const).map((stage) => held.find((hold) => hold.stage === stage));
  if (state === "released" && output && !output.allowed) find("a held output went out that nobody let go", id);
  if (state !== "released" && windowsReleased === 0) return;
  const { door1, review, countersign } = jobOf(row).admission!;
  if (decodeStatement(door1!.payload).predicate.decision !== "hold") return;
  if (!prompt?.allowed) find("a held prompt ran that nobody let in", id);
  if (!review || !countersign) find("ran after a hold, without review and countersignature", id);
}

/** Signed by a person and countersigned; and the log names who let it go, and it was somebody else. */
function checkWord(row: LedgerRow, hold: StoredHold, own: readonly LoggedRecord[], find: Find): void {
  const { id, tenant, subject } = row;
  if (!hold.review || !hold.countersign) find("let go without review and countersignature", id);
  const words = own.filter(
    ({ event, decision, detail }) =>
      event === "review.decided" && decision?.decision === "allow" && detail?.stage === hold.stage,
  );
  // Where two have to agree the first one's word lets nothing go.
  if (!words.some(({ detail }) => detail?.awaitsSecond === false))
    find(`let go after a hold of ${hold.stage}, but the log knows of nobody's word`, id);
  if (words.some(({ actor }) => actor?.tenant === tenant && actor.subject === subject))
    find("its author released it", id);
}
