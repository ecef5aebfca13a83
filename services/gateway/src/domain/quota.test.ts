import type { QuotaRule } from "@sallyport/policy";
import { describe, expect, test } from "vitest";
import { chargedTokens, countersFor, reservedTokens } from "./quota.ts";

const ann = { tenant: "acme", issuer: "https://a.example", subject: "ann", groups: ["users"], credential: "c" };
const bob = { ...ann, subject: "bob" };
const keyOf = (per: QuotaRule["per"], identity = ann, model = "pilot") =>
  countersFor([{ name: "r", per, concurrency: 1 }], identity, model)[0]!.key;

describe("what is counted together", () => {
  test("an identity is a person at one issuer of one tenant, whatever the credential", () => {
    expect(keyOf("identity", { ...ann, credential: "other", groups: [] })).toBe(keyOf("identity"));
    const others = [bob, { ...ann, issuer: "https://b.example" }, { ...ann, tenant: "other" }];
    expect(new Set([ann, ...others].map((identity) => keyOf("identity", identity))).size).toBe(4);
  });

  test("a tenant counts all its people, a model all who use it", () => {
    expect(keyOf("tenant", bob)).toBe(keyOf("tenant"));
    expect(keyOf("tenant", { ...ann, tenant: "other" })).not.toBe(keyOf("tenant"));
    expect(keyOf("model", { ...bob, tenant: "other" })).toBe(keyOf("model"));
    expect(keyOf("model", ann, "other")).not.toBe(keyOf("model"));
  });

  test("no name can be put together so that it counts as another", () => {
    const odd = { ...ann, tenant: 'acme","https://a.example', issuer: "", subject: "ann" };
    expect(keyOf("identity", odd)).not.toBe(keyOf("identity"));
  });
});

describe("how many tokens are set aside", () => {
  const size = { promptBytes: 300, maxTokens: 0, defaultMaxTokens: 512, contextTokens: 0 };

  test("the prompt by its length, and the longest answer that was asked for", () => {
    expect(reservedTokens(size)).toBe(612);
    expect(reservedTokens({ ...size, maxTokens: 50 })).toBe(150);
  });

  test("never more than fits into the model's context", () => {
    expect(reservedTokens({ ...size, contextTokens: 400 })).toBe(400);
  });
});

describe("what an ended request is charged for", () => {
  const ended = { state: "released", ran: true, windowsReleased: 0, promptBytes: 30 } as const;

  test.each([
    ["released: what the engine counted", { usage: { promptTokens: 7, completionTokens: 5 }, windowsReleased: 3 }, 12],
    ["released without a count: by its length", { windowsReleased: 2 }, 58],
    ["denied by door 1", { state: "blocked", ran: false }, null],
    ["blocked by door 2 before anything was released", { state: "blocked" }, 10],
    ["blocked by door 2 in the middle", { state: "blocked", windowsReleased: 1 }, 34],
    ["failed with nothing released", { state: "failed" }, null],
    [
      "failed, or out of its own caller's time, after a part of the answer",
      { state: "failed", windowsReleased: 1 },
      34,
    ],
    ["cancelled while it waited", { state: "cancelled", ran: false }, null],
    ["cancelled while it ran", { state: "cancelled" }, 10],
  ] as const)("%s", (_, facts, tokens) => {
    expect(chargedTokens({ ...ended, ...facts })).toBe(tokens);
  });
});
