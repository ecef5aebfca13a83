import { type QuotaRule, quotaLimitsOf, quotaMeters } from "@sallyport/policy";
import { describe, expect, test } from "vitest";
import { quotaFields, quotaRefusal } from "./quota-report.ts";

const now = new Date("2026-03-01T23:59:15.250Z");
const rule: QuotaRule = {
  name: "each",
  per: "identity",
  requestsPerDay: 1_000,
  requestsPerMinute: 60,
  tokensPerMinute: 5_000,
  imagesPerDay: 9,
  concurrency: 4,
};
const limits = quotaLimitsOf(rule);
const used = quotaMeters.map(
  ({ key }) =>
    ({ requestsPerDay: 400, requestsPerMinute: 12, tokensPerMinute: 4_990, concurrency: 1 })[key as string] ?? 0,
);
const text = { tokens: 20, images: 0 };
const limitOf = (name: string) => limits.find((limit) => limit.name === name)!;

describe("response fields", () => {
  test("name every quota, what is left of it and when its window ends, as structured lists", () => {
    const fields = quotaFields({ now, counted: [{ limits, used }] }, text);
    expect(fields["ratelimit-policy"]).toBe(
      '"each-requests-day";q=1000;w=86400, "each-requests-minute";q=60;w=60, "each-tokens-minute";q=5000;qu="tokens";w=60, "each-concurrency";q=4;qu="concurrent-requests"',
    );
    expect(fields.ratelimit).toBe(
      '"each-requests-day";r=600;t=45, "each-requests-minute";r=48;t=45, "each-tokens-minute";r=10;t=45, "each-concurrency";r=3',
    );
  });

  test("give OpenAI's clients the tightest limit of requests and of tokens", () => {
    expect(quotaFields({ now, counted: [{ limits, used }] }, text)).toMatchObject({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "48",
      "x-ratelimit-reset-requests": "45s",
      "x-ratelimit-limit-tokens": "5000",
      "x-ratelimit-remaining-tokens": "10",
      "x-ratelimit-reset-tokens": "45s",
    });
  });

  test("speak of images where images are asked for, never of less than nothing left, and not at all without quotas", () => {
    const drawn = quotaFields({ now, counted: [{ limits, used }] }, { tokens: 0, images: 1 });
    expect(drawn.ratelimit).toContain('"each-images-day";r=9;t=45');
    const over = quotaFields({ now, counted: [{ limits, used: used.map((value) => value * 100) }] }, text);
    expect(over.ratelimit).toContain('"each-tokens-minute";r=0;');
    expect(quotaFields({ now, counted: [] }, text)).toEqual({});
  });
});

describe("a refusal", () => {
  test.each([
    ["each-requests-minute", "RATE_LIMITED", 45_000],
    ["each-requests-day", "QUOTA_EXHAUSTED", 45_000],
    ["each-concurrency", "CONCURRENCY_LIMIT", 1_000],
  ])("by %s says which limit it was and when to come back", (name, reason, retryAfterMs) => {
    const error = quotaRefusal(limitOf(name), now, text);
    expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason, retryAfterMs, details: { limit: name } });
    expect(error.message).toContain(name);
    // Retry-After is not before the end of the window that is told beside it.
    const [, seconds = "0"] = /;t=(\d+)$/.exec(error.fields.ratelimit!) ?? [];
    expect(Number(seconds) * 1_000).toBeLessThanOrEqual(retryAfterMs);
    expect(error.fields.ratelimit).toMatch(new RegExp(`^"${name}";r=0`));
  });

  test("that lasts until tomorrow asks clients not to try again by themselves", () => {
    expect(quotaRefusal(limitOf("each-requests-day"), now, text).fields["x-should-retry"]).toBe("false");
    expect(quotaRefusal(limitOf("each-requests-minute"), now, text).fields["x-should-retry"]).toBeUndefined();
    const noon = new Date("2026-03-01T12:00:00Z");
    const error = quotaRefusal(limitOf("each-requests-day"), noon, text);
    expect(error.retryAfterMs).toBe(12 * 3_600_000);
    expect(error.fields["x-ratelimit-reset-requests"]).toBe("12h0m0s");
  });

  test("of a request that is larger than the limit names no time", () => {
    const error = quotaRefusal(limitOf("each-tokens-minute"), now, { tokens: 9_000, images: 0 });
    expect(error.retryAfterMs).toBeUndefined();
    expect(error.message).toContain("9000");
  });
});
