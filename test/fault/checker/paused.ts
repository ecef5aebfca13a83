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
      const told = (...events: string[]) =>
        records.some((record) => events.includes(record.event) && record.detail?.switch === id);
      if (!told("switch.paused")) find("the log has no switch.paused of a switch");
      // By a clock that jumps ahead its time is over before two people have lifted it.
      if (!told("switch.resumed", "switch.expired")) find("the log has no end of a switch");
    }
  });
}
