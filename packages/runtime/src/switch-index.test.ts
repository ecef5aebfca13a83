import { expect, test } from "vitest";
import {
  type Switch,
  type SwitchFacts,
  SwitchIndex,
  type SwitchTarget,
  strongestOf,
  switchKinds,
} from "./switch-index.ts";
import { effective, readSwitches } from "./switches.ts";

/** Small alphabets, so that random facts and random targets often meet; some parts would collide if they were joined. */
const names = ["a", "b", "a,b", '"', "a b", '","'];
const now = new Date("2026-01-01T00:00:00.000Z");

/** mulberry32: small, seeded, good enough to pick from lists. */
function randomFrom(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, pick: <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]! };
}
type Random = ReturnType<typeof randomFrom>;

function randomTarget({ pick }: Random): SwitchTarget {
  const name = () => pick(names);
  return pick<() => SwitchTarget>([
    () => ({ scope: "model", model: name() }),
    () => ({ scope: "tenant", tenant: name() }),
    () => ({ scope: "identity", tenant: name(), issuer: name(), subject: name() }),
    () => ({ scope: "credential", credential: name() }),
    () => (pick([1, 2, 3, 4, 5]) === 1 ? { scope: "all" } : { scope: "model", model: name() }),
  ])();
}

function randomSwitch(random: Random, id: string): Switch {
  const { pick } = random;
  const one = { id, kind: pick(switchKinds), target: randomTarget(random) };
  const until = pick([undefined, now.getTime() - 1, now.getTime(), now.getTime() + 1, now.getTime() + 60_000]);
  return until === undefined ? one : { ...one, until: new Date(until) };
}

function randomFacts({ pick, next }: Random): SwitchFacts {
  const maybe = () => (next() < 0.8 ? pick(names) : undefined);
  return JSON.parse(
    JSON.stringify({
      ...{ tenant: maybe(), issuer: maybe(), subject: maybe(), credential: maybe(), model: maybe() },
    }),
  );
}

/** What the index has to agree with: every field that a target names is there and the same. */
function holds({ target, until }: Switch, facts: SwitchFacts): boolean {
  if (until && until.getTime() <= now.getTime()) return false;
  const { scope: _, ...wanted } = target;
  return Object.entries(wanted).every(([name, value]) => facts[name as keyof SwitchFacts] === value);
}

const strongest = (found: readonly Switch[]) => switchKinds.find((kind) => found.some((one) => one.kind === kind));

test("an index finds what looking at every switch finds, the strongest first (5,000 random sets)", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = randomFrom(seed);
  for (let round = 0; round < 5_000; round += 1) {
    const switches = Array.from({ length: Math.floor(random.next() * 12) }, (_, i) => randomSwitch(random, `s${i}`));
    const facts = randomFacts(random);
    const matching = switches.filter((one) => holds(one, facts));
    const found = new SwitchIndex(switches).find(facts, now);
    expect({ seed, round, kind: found?.kind }).toEqual({ seed, round, kind: strongest(matching) });
    if (found) expect(matching).toContain(found);
  }
});

test("what holds is one switch for each target and kind, and covers the rest", () => {
  const random = randomFrom(7);
  const switches = Array.from({ length: 500 }, (_, i) => randomSwitch(random, `s${i}`));
  const holding = new SwitchIndex(new SwitchIndex(switches).holding(now));
  for (let round = 0; round < 2_000; round += 1) {
    const facts = randomFacts(random);
    expect(holding.find(facts, now)?.kind).toBe(new SwitchIndex(switches).find(facts, now)?.kind);
  }
});

test("10,000 switches cost a request less than 50 µs", () => {
  const switches = Array.from({ length: 10_000 }, (_, i): Switch => {
    const target = {
      scope: "identity",
      tenant: `t${i % 100}`,
      issuer: "https://id.example",
      subject: `s${i}`,
    } as const;
    return { id: `${i}`, kind: "ban", target };
  });
  const index = new SwitchIndex(switches);
  const facts = { tenant: "t7", issuer: "https://id.example", subject: "nobody", credential: "c", model: "m" };
  const began = performance.now();
  for (let i = 0; i < 10_000; i += 1) expect(index.find(facts, now) === undefined).toBe(true);
  expect((performance.now() - began) / 10_000).toBeLessThan(0.05);
  expect(index.find({ ...facts, subject: "s7" }, now)?.id).toBe("7");
});

test("governance lifts break-glass switches by their id, and nothing else is lifted", () => {
  const all = { id: "bg", kind: "pause", target: { scope: "all" } };
  const [active, breakGlass] = [readSwitches({ switches: [], lifted: ["bg"] }), readSwitches({ switches: [all] })];
  expect(effective(active, breakGlass)).toEqual([]);
  expect(effective(readSwitches({ switches: [], lifted: ["other"] }), breakGlass)).toHaveLength(1);
  expect(effective(readSwitches({ switches: [all], lifted: ["bg"] }), readSwitches({ switches: [] }))).toHaveLength(1);
});

test.each([
  ["no list", { switches: {} }],
  ["an unknown kind", { switches: [{ id: "1", kind: "resume", target: { scope: "all" } }] }],
  ["an unknown scope", { switches: [{ id: "1", kind: "pause", target: { scope: "toString" } }] }],
  ["half an identity", { switches: [{ id: "1", kind: "ban", target: { scope: "identity", tenant: "a" } }] }],
  ["a field too many", { switches: [{ id: "1", kind: "pause", target: { scope: "all", model: "m" } }] }],
  ["an empty name", { switches: [{ id: "1", kind: "pause", target: { scope: "model", model: "" } }] }],
  [
    "a name that nobody could read",
    { switches: [{ id: "1", kind: "pause", target: { scope: "model", model: "m\0" } }] },
  ],
  ["an endless name", { switches: [{ id: "1", kind: "pause", target: { scope: "model", model: "m".repeat(1_025) } }] }],
  [
    "an id that governance cannot keep",
    { switches: [{ id: "i".repeat(129), kind: "pause", target: { scope: "all" } }] },
  ],
  ["an id that nobody could name", { switches: [{ id: "a b", kind: "pause", target: { scope: "all" } }] }],
  ["a lifted id that is none", { switches: [], lifted: [""] }],
  ["a time that is none", { switches: [{ id: "1", kind: "pause", target: { scope: "all" }, until: "soon" }] }],
  ["nothing", {}],
])("signed switches with %s are refused whole", (_, value) => {
  expect(() => readSwitches(value)).toThrow(/makes no sense/);
});

test("of several switches the reason that lasts longest is told, in whatever order they stand", () => {
  const target = { scope: "credential", credential: "c" } as const;
  const all = switchKinds.map((kind) => ({ id: kind, kind, target }));
  for (const order of [all, all.toReversed()]) expect(strongestOf(order)?.kind).toBe("revocation");
  expect(strongestOf(all.slice(1).toReversed())?.kind).toBe("ban");
  expect(strongestOf([])).toBeUndefined();
});
