/** P3: the log is what it signed, holds what it held before, and proves each ending that a caller was told. */
import type { Evidence } from "../support/evidence.ts";
import { isTerminal, verifyIncluded, verifyLog } from "../support/log.ts";
import { attempt, finding, type Violation } from "./violation.ts";

export function checkTamperEvident(evidence: Evidence): Violation[] {
  const { records, before, after, consistency, proofs, transcripts, logTrust, fresh } = evidence;
  return finding("P3", (find) => {
    attempt(find, "the log does not verify", undefined, () => verifyLog(records, before, after, consistency));
    const leaves = new Set(records.map(({ leaf }) => leaf));
    for (const { leafHash, requestId } of transcripts)
      if (leafHash !== undefined && !leaves.has(leafHash))
        find("a caller was told of a record that is not there", requestId);
    for (const record of records) {
      if (!isTerminal(record) || !fresh.has(record.request?.id ?? "")) continue;
      const { leaf, request } = record;
      const proof = proofs.get(leaf);
      if (proof === undefined) find("the log has no proof of a terminal record", request?.id);
      else attempt(find, "a proof does not verify", request?.id, () => verifyIncluded(record, proof, logTrust));
    }
  });
}
