import { beforeEach, describe, expect, test } from "vitest";
import type { LiveRequest } from "../db/at-work.ts";
import { Turns } from "./turns.ts";

const model = "pilot";
const request = (id: string, subject = "ann") => ({
  ...{ id, model, attempt: 1, tenant: "acme", issuer: "https://issuer.example", subject, since: new Date(now) },
});
/** As the ledger has it. */
const live = (id: string, state: "queued" | "running", own = true): LiveRequest => ({
  ...{ ...request(id), queued: state === "queued", own },
});

let now = 0;
let turns: Turns;
beforeEach(() => {
  now = 10_000;
  turns = new Turns({ least: 2, now: () => new Date(now) });
});

/** Ids that are sent when these come. */
function come(...ids: string[]): string[] {
  for (const id of ids) turns.enter(request(id));
  return next();
}
const next = () => turns.next(model).map(({ id }) => id);
const begun = (id: string) => {
  turns.begun({ id, model });
  return next();
};

describe("a request", () => {
  test("is sent at once while few lie ahead; then one for each that is begun or ends", () => {
    expect([come("a"), come("b"), come("c"), come("d")]).toEqual([["a"], ["b"], [], []]);
    expect(begun("a")).toEqual(["c"]);
    turns.left({ id: "b", model });
    expect(next()).toEqual(["d"]);
  });

  test("of somebody with less at work is sent before those that came first", () => {
    come("a", "b", "c", "d");
    turns.enter(request("z", "zoe"));
    expect(begun("a")).toEqual(["z"]);
  });

  test("of another model does not wait for it", () => {
    come("a", "b", "c");
    turns.enter({ ...request("x"), model: "other" });
    expect(turns.next("other")).toHaveLength(1);
  });

  test("that could not be sent waits again", () => {
    come("a", "b", "c");
    turns.back({ id: "a", model });
    expect(next()).toEqual(["a"]);
  });

  test("that was sent long ago and not begun is sent again, and not twice", () => {
    come("a", "b", "c");
    begun("b");
    now += 5_001;
    expect(turns.overdue(5_000).map(({ id }) => id)).toEqual(["a", "c"]);
    expect(turns.overdue(5_000)).toEqual([]);
  });

  test("that ends while it waits never gets its turn", () => {
    come("a", "b", "c", "d");
    turns.left({ id: "c", model });
    expect(begun("a")).toEqual(["d"]);
  });
});

test("what was sent before a request that is begun does not lie ahead any more: another worker has it, or had", () => {
  expect(come("a", "b", "c", "d")).toEqual(["a", "b"]);
  expect(begun("b")).toEqual(["c", "d"]);
  expect(come("e")).toEqual([]);
  expect(begun("a")).toEqual([]);
});

test("more are sent ahead while they are begun quickly, and fewer again when they are not", () => {
  come(...Array.from({ length: 20 }, (_, at) => `r${at}`));
  expect([begun("r0"), begun("r1"), begun("r2"), begun("r3")].map(({ length }) => length)).toEqual([1, 1, 2, 2]);
  now += 250;
  expect(begun("r4")).toEqual([]);
});

describe("the ledger corrects what is known", () => {
  const correct = (...rows: LiveRequest[]) => turns.correct(rows, new Date(now));

  test("requests that were accepted before a start get their turn; what others run counts for whom it is", () => {
    correct(live("a", "queued"), live("b", "queued"), live("c", "queued"), live("x", "running", false));
    turns.enter(request("z", "zoe"));
    expect(next()).toEqual(["z", "a"]);
  });

  test("what another replica ended makes room", () => {
    come("a", "b", "c");
    now += 1;
    correct(live("b", "queued"), live("c", "queued"));
    expect(next()).toEqual(["c"]);
  });

  test("what came after it was asked is kept", () => {
    const askedAt = new Date(now);
    now += 1;
    come("a", "b", "c");
    turns.correct([], askedAt);
    expect(begun("a")).toEqual(["c"]);
  });

  test("what is begun and not stored yet is not sent again; its next attempt is", () => {
    come("a");
    begun("a");
    now += 1;
    correct(live("a", "queued"));
    expect(next()).toEqual([]);
    correct({ ...live("a", "queued"), attempt: 2 });
    expect(next()).toEqual(["a"]);
  });
});
