import type { CallerIdentity, SwitchTarget } from "@sallyport/runtime";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resumeStep, type SwitchRow, type SwitchState, switchesValue } from "./switch.ts";

const now = new Date("2026-11-23T12:00:00.000Z");
const names = ["ann", "ben", "cem", "dot"];
const issuers = ["https://one.example", "https://two.example"];
type Person = Pick<CallerIdentity, "issuer" | "subject">;
const person = fc.record({ issuer: fc.constantFrom(...issuers), subject: fc.constantFrom(...names) });
const callerOf = (who: Person): CallerIdentity => ({
  ...who,
  ...{ tenant: "acme", groups: [], credential: `of ${who.subject}` },
});
const keyOf = ({ issuer, subject }: Person) => `${issuer} ${subject}`;

const target: fc.Arbitrary<SwitchTarget> = fc.oneof(
  fc.constant<SwitchTarget>({ scope: "all" }),
  fc.constant<SwitchTarget>({ scope: "tenant", tenant: "acme" }),
  person.map((who): SwitchTarget => ({ scope: "identity", tenant: "acme", ...who })),
  person.map(({ subject }): SwitchTarget => ({ scope: "credential", credential: `of ${subject}` })),
);

function row(over: Partial<SwitchRow>): SwitchRow {
  return {
    ...{ id: "1", kind: "pause", target: { scope: "all" }, tenant: "*", state: "active" },
    ...{ setter: "s", setBy: "s", setAt: now, expiresAt: null, asker: "", resumeAskedBy: "", liftedBy: "" },
    ...{ endedAt: null, breakGlass: false, ofPlatform: false },
    ...over,
  };
}

/** What the table does with each step; the moves that the rule refuses change nothing. */
function apply(current: SwitchRow, who: Person, at: Date): SwitchRow {
  try {
    const step = resumeStep(current, callerOf(who), keyOf(who), at);
    return step === "ask"
      ? { ...current, state: "resume_asked", asker: keyOf(who) }
      : { ...current, state: "lifted", liftedBy: keyOf(who) };
  } catch {
    return current;
  }
}

describe("lifting a switch", () => {
  test("takes two different persons, neither of whom it is about: whoever calls, in whatever order", () => {
    const facts = fc.record({ target, calls: fc.array(person, { maxLength: 12 }), setter: person });
    let lifted = 0;
    fc.assert(
      fc.property(facts, ({ target: about, calls, setter }) => {
        const end = calls.reduce((state, who) => apply(state, who, now), row({ target: about, setter: keyOf(setter) }));
        const allowed = new Set(calls.filter((who) => !concerns(about, who)).map(keyOf));
        expect(end.state === "lifted").toBe(allowed.size >= 2);
        if (end.state !== "lifted") return;
        lifted += 1;
        expect(end.asker).not.toBe(end.liftedBy);
        for (const key of [end.asker, end.liftedBy]) expect(allowed.has(key)).toBe(true);
      }),
      { numRuns: 2_000, verbose: true },
    );
    expect(lifted).toBeGreaterThan(500);
  });

  test("of a revocation, or of what has ended, nobody does", () => {
    const states: SwitchState[] = ["active", "resume_asked", "lifted", "expired"];
    fc.assert(
      fc.property(person, fc.constantFrom(...states), fc.boolean(), (who, state, past) => {
        const expiresAt = past ? now : null;
        const ended = state === "lifted" || state === "expired" || past;
        const revoked = row({ kind: "revocation", state, expiresAt });
        const step = (found: SwitchRow) => () => resumeStep(found, callerOf(who), keyOf(who), now);
        expect(step(revoked)).toThrow(expect.objectContaining({ reason: ended ? "SWITCH_ENDED" : "NEVER_LIFTED" }));
        if (ended) expect(step(row({ state, expiresAt }))).toThrow(expect.objectContaining({ reason: "SWITCH_ENDED" }));
      }),
    );
  });
});

function concerns(about: SwitchTarget, { issuer, subject }: Person): boolean {
  if (about.scope === "credential") return about.credential === `of ${subject}`;
  return about.scope === "identity" && about.issuer === issuer && about.subject === subject;
}

test("the signed value has what holds and its end, and nothing of who set it", () => {
  const until = new Date("2026-11-24T00:00:00.000Z");
  const value = switchesValue([row({ id: "7", expiresAt: until }), row({ id: "8", kind: "ban" })], ["3"]);
  expect(value).toEqual({
    switches: [
      { id: "7", kind: "pause", target: { scope: "all" }, until: "2026-11-24T00:00:00.000Z" },
      { id: "8", kind: "ban", target: { scope: "all" } },
    ],
    lifted: ["3"],
  });
});
