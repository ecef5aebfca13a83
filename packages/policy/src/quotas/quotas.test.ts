import { describe, expect, test } from "vitest";
import { describeQuotas, type QuotaRule, quotaFaults, quotaLimitsOf, quotaRulesFor } from "./quotas.ts";

const rules: QuotaRule[] = [
  { name: "everyone", per: "identity", requestsPerMinute: 60_000, concurrency: 96 },
  { name: "guests", per: "tenant", groups: ["guests", "trial"], tokensPerDay: 1_000 },
  { name: "acme", per: "tenant", tenants: ["acme"], requestsPerDay: 10 },
  { name: "big", per: "identity", models: ["big"], requestsPerDay: 5 },
  { name: "gpu", per: "model", concurrency: 8 },
];
const namesFor = (tenant: string, groups: string[], model?: string) =>
  quotaRulesFor(rules, { tenant, groups, model }).map(({ name }) => name);

describe("quota rules", () => {
  test("every rule that is meant for a call holds, and no other", () => {
    expect(namesFor("acme", ["users"], "small")).toEqual(["everyone", "acme", "gpu"]);
    expect(namesFor("other", ["trial", "users"], "big")).toEqual(["everyone", "guests", "big", "gpu"]);
  });

  test("without a model, rules about models say nothing", () => {
    expect(namesFor("acme", [])).toEqual(["everyone", "acme"]);
  });

  test("limits are named after their rule, the longest wait first", () => {
    expect(quotaLimitsOf(rules[0]!).map(({ name, limit }) => [name, limit])).toEqual([
      ["everyone-requests-minute", 60_000],
      ["everyone-concurrency", 96],
    ]);
  });

  test("a rule reads as one line", () => {
    expect(describeQuotas(rules)).toEqual([
      "everyone: for each identity: 60,000 requests a minute; 96 requests at once",
      "guests: for each tenant; groups guests, trial: 1,000 tokens a day",
      "acme: for each tenant; tenants acme: 10 requests a day",
      "big: for each identity; models big: 5 requests a day",
      "gpu: for each model: 8 requests at once",
    ]);
  });
});

describe("malformed quotas are refused with their place, so that no typing error limits nothing", () => {
  const rule = { name: "a", per: "identity", concurrency: 1 };
  test.each([
    ["no list", undefined, "config.quotas (a list of rules; an empty one limits nothing)"],
    ["no object", [null], "config.quotas[0] (not an object)"],
    ["a misspelled limit", [{ ...rule, requestPerMinute: 1 }], "config.quotas[0].requestPerMinute (not a limit)"],
    ["a negative limit", [{ ...rule, concurrency: -1 }], "config.quotas[0].concurrency (a whole number from 0)"],
    ["a fraction", [{ ...rule, tokensPerDay: 1.5 }], "config.quotas[0].tokensPerDay (a whole number from 0)"],
    ["an unknown scope", [{ ...rule, per: "person" }], "config.quotas[0].per (identity, tenant, model)"],
    ["no scope", [{ name: "a", concurrency: 1 }], "config.quotas[0].per (missing)"],
    ["a name that no header takes", [{ ...rule, name: 'a"b' }], "config.quotas[0].name"],
    ["nobody meant", [{ ...rule, groups: [] }], "config.quotas[0].groups"],
    ["nothing limited", [{ name: "a", per: "identity" }], "config.quotas[0] (limits nothing)"],
    ["a name twice", [rule, { ...rule }], "config.quotas[1].name (used twice)"],
  ])("%s", (_, value, fault) => {
    expect(quotaFaults(value)).toContain(fault);
  });

  test("good ones have none", () => {
    expect(quotaFaults(rules)).toEqual([]);
    expect(quotaFaults([])).toEqual([]);
  });
});
