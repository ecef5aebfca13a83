import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AtWork, allowedAhead, nextInTurn, type Party, partyOf, type Waiting, withBeginning } from "./turns.ts";

const person = (tenant: string, subject: string) => ({
  ...partyOf({ tenant, subject, issuer: "https://issuer.example" }),
  subject,
});
type Person = Party & { readonly subject: string };
const [ann, bea, cat] = [person("acme", "ann"), person("acme", "bea"), person("acme", "cat")];
const zoe = person("other", "zoe");

/** `count` requests of one person, the first at `from`, a millisecond apart. */
const flood = (party: Person, count: number, from: number): Waiting[] =>
  Array.from({ length: count }, (_, at) => ({ ...party, id: `${party.subject}-${at}`, since: new Date(from + at) }));
/** So many at work. */
const busy = (party: Person, count: number): AtWork[] =>
  Array.from({ length: count }, (_, at) => ({ ...party, id: `${party.subject}-at-work-${at}` }));
const whose = (turns: readonly Waiting[]) => turns.map(({ id }) => id.split("-")[0]);

describe("whose turn is next", () => {
  test("a newcomer of another tenant comes before the whole backlog of a flood by three identities", () => {
    const waiting = [...flood(ann, 96, 0), ...flood(bea, 96, 0), ...flood(cat, 96, 0), ...flood(zoe, 1, 5_000)];
    expect(whose(nextInTurn(waiting, busy(ann, 2), 1))).toEqual(["zoe"]);
  });

  test("tenants take turns, however many identities one of them has", () => {
    const waiting = [...flood(ann, 9, 0), ...flood(bea, 9, 0), ...flood(cat, 9, 0), ...flood(zoe, 9, 100)];
    const turns = whose(nextInTurn(waiting, [], 8));
    expect(turns.filter((name) => name === "zoe")).toHaveLength(4);
    expect(turns.slice(0, 2)).toEqual(["ann", "zoe"]);
  });

  test("within a tenant its identities take turns", () => {
    const waiting = [...flood(ann, 96, 0), ...flood(bea, 3, 500)];
    expect(whose(nextInTurn(waiting, busy(ann, 1), 5))).toEqual(["bea", "ann", "bea", "ann", "bea"]);
  });

  test("who has more at work than the others waits until they have as much", () => {
    const waiting = [...flood(ann, 4, 0), ...flood(zoe, 4, 100)];
    const turns = whose(nextInTurn(waiting, busy(ann, 3), 5));
    expect(turns).toEqual(["zoe", "zoe", "zoe", "ann", "zoe"]);
  });

  test("of equals the one who has waited longest, and everybody's own in the order in which they came", () => {
    const turns = nextInTurn([...flood(zoe, 2, 10), ...flood(ann, 2, 0)], [], 9);
    expect(turns.map(({ id }) => id)).toEqual(["ann-0", "zoe-0", "ann-1", "zoe-1"]);
  });

  test("one alone gets every place that there is", () => {
    expect(nextInTurn(flood(ann, 50, 0), busy(ann, 30), 20)).toHaveLength(20);
    expect(nextInTurn([], busy(ann, 3), 20)).toEqual([]);
    expect(nextInTurn(flood(ann, 50, 0), [], 0)).toEqual([]);
  });

  test("what is at work is counted once, however often it is named", () => {
    const waiting = [...flood(ann, 1, 100), ...flood(zoe, 1, 0)];
    const [job] = busy(ann, 1);
    expect(whose(nextInTurn(waiting, [job!, job!, job!, ...busy(zoe, 2)], 1))).toEqual(["ann"]);
  });

  test("no name can be put together so that it counts as another", () => {
    const odd = partyOf({ tenant: "acme", issuer: 'https://issuer.example","ann', subject: "" });
    const waiting = [{ ...odd, id: "odd-0", since: new Date(9) }, ...flood(ann, 1, 0)];
    expect(whose(nextInTurn(waiting, busy(ann, 1), 1))).toEqual(["odd"]);
  });
});

describe("whatever waits, and whatever is at work", () => {
  const parties = ["a", "b", "c"].flatMap((tenant) => ["x", "y", "z"].map((subject) => person(tenant, subject)));
  const party = fc.constantFrom(...parties);
  const lines = fc
    .array(fc.tuple(party, fc.nat(1_000)), { maxLength: 60 })
    .map((entries) =>
      entries.map(([each, at], position): Waiting => ({ ...each, id: `r${position}`, since: new Date(at) })),
    );
  const work = fc.array(
    fc.tuple(party, fc.nat(30)).map(([each, id]): AtWork => ({ ...each, id: `w${id}` })),
    { maxLength: 40 },
  );

  test("as many get their turn as there are places, each once", () => {
    fc.assert(
      fc.property(lines, work, fc.nat(40), (waiting, atWork, places) => {
        const ids = nextInTurn(waiting, atWork, places).map(({ id }) => id);
        expect(ids).toHaveLength(Math.min(places, waiting.length));
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
  });

  test("at every turn nobody waits whose tenant has less at work than the one whose turn it is", () => {
    fc.assert(
      fc.property(lines, work, (waiting, atWork) => {
        const left = new Map(waiting.map((each) => [each.id, each]));
        const counts = new Map<string, number>();
        const add = (tenant: string, count: number) => counts.set(tenant, (counts.get(tenant) ?? 0) + count);
        for (const { tenant } of new Map(atWork.map((each) => [each.id, each])).values()) add(tenant, 1);
        for (const { id } of nextInTurn(waiting, atWork, waiting.length)) {
          const { tenant } = left.get(id)!;
          const least = Math.min(...[...left.values()].map((each) => counts.get(each.tenant) ?? 0));
          expect(counts.get(tenant) ?? 0).toBe(least);
          left.delete(id);
          add(tenant, 1);
        }
      }),
    );
  });
});

describe("how many jobs lie ahead of a newcomer", () => {
  const begunAt = (...times: number[]) => times.reduce<number[]>((begun, at) => withBeginning(begun, at, 4), []);

  test("of a slow model the least that keeps its workers busy", () => {
    expect(allowedAhead([], 10_000, 4)).toBe(4);
    expect(allowedAhead(begunAt(1_000, 5_000, 9_900), 10_000, 4)).toBe(4);
  });

  test("of a quick one what it begins in a quarter of a second, up to eight times as many", () => {
    const everyMs = (ms: number, count: number) => begunAt(...Array.from({ length: count }, (_, at) => at * ms));
    expect(allowedAhead(everyMs(25, 100), 2_475, 4)).toBe(10);
    expect(allowedAhead(everyMs(1, 5_000), 5_000, 4)).toBe(32);
    expect(allowedAhead(everyMs(1, 5_000), 5_250, 4)).toBe(4);
  });

  test("what is remembered of the past is bounded", () => {
    expect(begunAt(...Array.from({ length: 500 }, (_, at) => at)).length).toBeLessThanOrEqual(32);
  });
});
