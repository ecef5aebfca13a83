/** P8: while a switch held, nobody whom it is about heard anything; and the log knows of it. */
import type { Evidence } from "../support/evidence.ts";
import { finding, type Violation } from "./violation.ts";

export function checkPaused({ pauses, transcripts, records }: Evidence): Violation[] {
  return finding("P8", (find) => {
    for (const { id, affects, from, until } of pauses) {
      for (const { person, windows, requestId } of transcripts) {
        const heard = windows.filter(({ heardAt = 0 }) => heardAt > from && heardAt < until);
        if (heard.length > 0 && affects.includes(person))
          find(`${heard.length} windows heard under a switch`, requestId);
      }
      for (const event of ["switch.paused", "switch.resumed"])
        if (!records.some((record) => record.event === event && record.detail?.switch === id))
          find(`the log has no ${event} of a switch`);
    }
  });
}
