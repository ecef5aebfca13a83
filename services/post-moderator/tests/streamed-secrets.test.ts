/** What is masked in a whole text is masked in its windows too, wherever they are cut. Pure: no bus, the default policy. */

import { create } from "@bufbuild/protobuf";
import { defaultBundleDir, loadBundle, PolicyEngine } from "@sallyport/policy";
import { JobSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Context } from "../src/context.ts";
import { judgeOutput } from "../src/core/judge.ts";
import { PendingText } from "../src/domain/pending-text.ts";

const engine = PolicyEngine.create(loadBundle(defaultBundleDir));
const context = { policy: { get: () => engine } } as unknown as Context;
const identity = { tenant: "acme", subject: "ann", groups: ["sallyport-users"] };
const job = create(JobSchema, { tenant: "acme", model: "pilot", modelTier: "small", identity });

/** All that door 2 would let out of these windows; the last one ends the text. */
function released(windows: readonly string[]): string {
  const text = new PendingText(engine.settings.review.contextChars);
  return windows
    .map((window, at) => {
      text.append(window);
      const { text: seen, from } = text.view;
      const { decision, openFrom, edits } = judgeOutput(context, job, seen, from);
      expect(["allow", "sanitise"]).toContain(decision);
      return text.take(openFrom, edits, at === windows.length - 1).text;
    })
    .join("");
}

function cut(text: string, lengths: readonly number[]): string[] {
  const windows: string[] = [];
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const end = at + lengths[turn % lengths.length]!;
    windows.push(text.slice(at, end));
    at = end;
  }
  return [...windows, ""];
}

const lines = Array.from({ length: 30 }, (_, line) => `Body${line}`.padEnd(64, "x"));
const kinds = ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"];
const keyOf = (kind: string) => `-----BEGIN ${kind}-----\n${lines.join("\n")}\n-----END ${kind}-----`;

describe("P1: no part of a secret of many lines comes out, however the windows cut it", () => {
  test.each(kinds)("%s, a window a line, as a model writes it", (kind) => {
    const windows = `Here it is:\n${keyOf(kind)}\nThat was it.`.split(/(?<=\n)/);
    expect(released([...windows, ""])).toBe("Here it is:\n[secret removed]\nThat was it.");
  });

  test.each(kinds)("%s, whose first line is cut between its words", (kind) => {
    const windows = `Look: ${keyOf(kind)} End.`.split(/(?<=[ \n])/);
    expect(released([...windows, ""])).toBe("Look: [secret removed] End.");
  });

  test("cut anywhere", () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.constantFrom(...kinds), lengths, (kind, sizes) => {
        expect(released(cut(`Look: ${keyOf(kind)} End.`, sizes))).toBe("Look: [secret removed] End.");
      }),
      { numRuns: 12 },
    );
  });

  test("one that never ends is removed to the end of the text", () => {
    const windows = keyOf("PRIVATE KEY")
      .split("-----END")[0]!
      .split(/(?<=\n)/);
    expect(released(["Look:\n", ...windows, ""])).toBe("Look:\n[secret removed]");
  });

  test("a long token of one word is held back until it shows what it is", () => {
    const token = `eyJ${"a".repeat(900)}.eyJ${"b".repeat(700)}.${"c".repeat(86)}`;
    expect(released(cut(`Token: ${token} End.`, [60]))).toBe("Token: [secret removed] End.");
  });
});

test("words that only begin like a secret are let out as they were", () => {
  const text = "-----BEGIN PRIVATE talks----- are fine, and so is the prefix sk- or eyJ alone. -----BEGIN";
  expect(released(cut(text, [5]))).toBe(text);
});
