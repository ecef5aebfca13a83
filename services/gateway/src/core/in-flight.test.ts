import { describe, expect, test } from "vitest";
import { InFlight, type Slot } from "./in-flight.ts";

const person = (subject: string, tenant = "acme") => ({ tenant, issuer: "https://issuer.example", subject });

/** As many places as `subject` gets of `count`. */
function enter(inFlight: InFlight, subject: string, count: number, tenant?: string): Slot[] {
  return Array.from({ length: count }, () => {
    try {
      return inFlight.enter(person(subject, tenant));
    } catch (error) {
      expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED", retryAfterMs: 1_000 });
      return undefined;
    }
  }).filter((slot) => slot !== undefined);
}

describe("calls in flight", () => {
  test("are bounded, and a place that is left can be taken again", () => {
    const inFlight = new InFlight(3);
    const slots = ["ann", "bob", "cat"].map((name) => inFlight.enter(person(name)));
    expect(enter(inFlight, "dan", 1)).toHaveLength(0);
    slots[0]![Symbol.dispose]();
    slots[0]![Symbol.dispose]();
    expect(inFlight.count).toBe(2);
    expect(enter(inFlight, "dan", 1)).toHaveLength(1);
  });

  test("one identity alone gets three quarters, so that the next one finds a place", () => {
    const inFlight = new InFlight(128);
    expect(enter(inFlight, "ann", 500)).toHaveLength(96);
    expect(enter(inFlight, "bob", 1)).toHaveLength(1);
  });

  test("in a crowd whoever is above the fair share waits until it is below, while others get in", () => {
    const inFlight = new InFlight(100);
    const many = enter(inFlight, "ann", 75);
    expect(enter(inFlight, "bob", 30)).toHaveLength(19);
    for (const slot of many.slice(0, 20)) slot[Symbol.dispose]();
    expect(enter(inFlight, "ann", 1)).toHaveLength(0);
    expect(enter(inFlight, "bob", 30)).toHaveLength(20);
  });

  test("a tenant of ever so many identities leaves places to others, who then get as many as it has", () => {
    const inFlight = new InFlight(128);
    const flood = Array.from({ length: 200 }, (_, at) => enter(inFlight, `one-${at}`, 1)).flat();
    expect(flood).toHaveLength(120);
    expect(enter(inFlight, "zoe", 10, "other")).toHaveLength(8);
    for (const slot of flood.slice(0, 40)) slot[Symbol.dispose]();
    expect(enter(inFlight, "one-more", 50)).toHaveLength(0);
    expect(enter(inFlight, "zoe", 50, "other")).toHaveLength(40);
  });

  test("below half nobody is refused, however unequal the shares", () => {
    const inFlight = new InFlight(100);
    enter(inFlight, "bob", 1);
    expect(enter(inFlight, "ann", 49)).toHaveLength(49);
  });

  test("names that could be mistaken for each other count apart", () => {
    const inFlight = new InFlight(4);
    inFlight.enter({ tenant: "a", issuer: "b", subject: "c" });
    inFlight.enter({ tenant: "a,b", issuer: "", subject: "c" });
    expect(() => inFlight.enter({ tenant: "a", issuer: "b,", subject: "c" })).not.toThrow();
  });

  test("are waited for when the service stops, and those that last too long are told so", async () => {
    const calls = new InFlight(10);
    const [quick, slow] = [calls.enter(person("ann")), calls.enter(person("ann"))];
    slow.signal.addEventListener("abort", () => slow[Symbol.dispose]());
    const drained = calls.drain(20);
    expect(() => calls.enter(person("ann"))).toThrow(expect.objectContaining({ reason: "STOPPING" }));
    quick[Symbol.dispose]();
    await drained;
    expect(quick.signal.aborted).toBe(false);
    expect(slow.signal.reason).toMatchObject({ code: "UNAVAILABLE", reason: "STOPPING" });
    expect(calls.count).toBe(0);
  });
});
