/** P5: only approved models ran. P7: nothing that was held went out without a reviewer's word and door 2's hand on it. */

import { fromBinary } from "@bufbuild/protobuf";
import { decodeStatement } from "@sallyport/attestation";
import { EnvelopeSchema } from "@sallyport/proto/sallyport/attestation/v1/attestation";
import { jobOf, type LedgerRow, verifierOf } from "../../kit/index.ts";
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
      const own = logged.get(row.id) ?? [];
      const released = row.state === "released" || row.windowsReleased > 0;
      if (!released) continue;
      const outputHold = holds.find(({ requestId, stage }) => requestId === row.id && stage === "door2");
      if (outputHold && row.state === "released") {
        if (!outputHold.review || !outputHold.countersign) find("released without review and countersignature", row.id);
        checkDecision(row, own, find);
      }
      const { door1, review, countersign } = jobOf(row).admission!;
      const heldAtDoor1 = decodeStatement(door1!.payload).predicate.decision === "hold";
      if (!heldAtDoor1) continue;
      if (!review || !countersign) find("ran after a hold, without review and countersignature", row.id);
      checkDecision(row, own, find);
    }
  });
}

/** The log names who let it go, and it was somebody else. */
function checkDecision({ id, tenant, subject }: LedgerRow, own: readonly LoggedRecord[], find: Find): void {
  const decided = own.filter(({ event, decision }) => event === "review.decided" && decision?.decision === "allow");
  if (decided.length === 0) find("released after a hold, but the log knows of nobody's word", id);
  if (decided.some(({ actor }) => actor?.tenant === tenant && actor.subject === subject))
    find("its author released it", id);
}
