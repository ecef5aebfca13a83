import { describe, expect, test } from "vitest";
import type { RequestRow } from "../db/ledger.ts";
import { type LiveEvent, LiveRequests } from "./live.ts";

const never = new AbortController().signal;
const windowAt = (index: number): LiveEvent => ({
  window: { attempt: 1, index, content: new Uint8Array(), ticket: undefined as never },
});

describe("live news", () => {
  test("reach every follower of that request in order, and nobody else's", async () => {
    const live = new LiveRequests();
    using first = live.follow("a");
    using second = live.follow("a");
    using other = live.follow("b");
    for (const index of [0, 1]) live.publish("a", windowAt(index));
    for (const follower of [first, second]) {
      expect(await follower.next(1_000, never)).toEqual(windowAt(0));
      expect(await follower.next(1_000, never)).toEqual(windowAt(1));
    }
    expect(await other.next(1, never)).toBeUndefined();
  });

  test("a follower that waits is woken, by news or by its signal", async () => {
    const live = new LiveRequests();
    using follower = live.follow("a");
    const news = follower.next(60_000, never);
    live.publish("a", { row: { id: "a" } as RequestRow });
    expect(await news).toEqual({ row: { id: "a" } });
    const stop = new AbortController();
    const nothing = follower.next(60_000, stop.signal);
    stop.abort();
    expect(await nothing).toBeUndefined();
  });

  test("one that falls far behind keeps a bounded number and is then sent to the ledger without waiting", async () => {
    const live = new LiveRequests();
    using follower = live.follow("a");
    for (let index = 0; index < 10_000; index += 1) live.publish("a", windowAt(index));
    let kept = 0;
    while (await follower.next(60_000, never)) kept += 1;
    expect(kept).toBeLessThan(200);
  });

  test("nothing is kept of requests that nobody follows any more", () => {
    const live = new LiveRequests();
    const follower = live.follow("a");
    live.publish("b", windowAt(0));
    expect(live.size).toBe(1);
    follower[Symbol.dispose]();
    expect(live.size).toBe(0);
  });
});
