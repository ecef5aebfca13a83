/** Quotas as policy data, `config.quotas`: which rules are meant for a call, and what they say. Counting is the gateway's. */

/** What a rule may limit. The order is that of the gateway's counters: the longest wait first. */
export const quotaMeters = [
  { key: "requestsPerDay", unit: "requests", window: "day" },
  { key: "tokensPerDay", unit: "tokens", window: "day" },
  { key: "imagesPerDay", unit: "images", window: "day" },
  { key: "requestsPerMinute", unit: "requests", window: "minute" },
  { key: "tokensPerMinute", unit: "tokens", window: "minute" },
  { key: "imagesPerMinute", unit: "images", window: "minute" },
  { key: "concurrency", unit: "requests at once", window: undefined },
] as const;

export type QuotaMeter = (typeof quotaMeters)[number];
const scopes = ["identity", "tenant", "model"] as const;

/** Windows are whole UTC minutes and days. A limit that is absent is none; 0 allows nothing. */
export interface QuotaRule extends Readonly<Partial<Record<QuotaMeter["key"], number>>> {
  /** Unique; stands in headers and errors. */
  readonly name: string;
  /** What is counted apart: each identity, each tenant, or each model over all who use it. */
  readonly per: (typeof scopes)[number];
  /** Meant for members of any of them; all when absent. */
  readonly groups?: readonly string[];
  readonly tenants?: readonly string[];
  /** Counts requests for these models alone, together. */
  readonly models?: readonly string[];
}

export interface QuotaSubject {
  readonly tenant: string;
  readonly groups: readonly string[];
  /** Absent for what needs no model, such as a moderation. */
  readonly model?: string;
}

/** Every rule that is meant for a call, in the order of the data: all of them hold. */
export function quotaRulesFor(rules: readonly QuotaRule[], { tenant, groups, model }: QuotaSubject): QuotaRule[] {
  return rules.filter((rule) => {
    if (rule.groups && !rule.groups.some((group) => groups.includes(group))) return false;
    if (rule.tenants && !rule.tenants.includes(tenant)) return false;
    if (model === undefined) return rule.per !== "model" && !rule.models;
    return !rule.models || rule.models.includes(model);
  });
}

export interface QuotaLimit {
  /** `<rule>-<unit>-<window>`, or `<rule>-concurrency`. */
  readonly name: string;
  readonly meter: QuotaMeter;
  readonly limit: number;
}

/** What a rule limits, in the order of `quotaMeters`. */
export function quotaLimitsOf(rule: QuotaRule): QuotaLimit[] {
  return quotaMeters.flatMap((meter) => {
    const limit = rule[meter.key];
    const name = meter.window ? `${meter.unit}-${meter.window}` : "concurrency";
    return limit === undefined ? [] : [{ name: `${rule.name}-${name}`, meter, limit }];
  });
}

/** One line a rule for people: `identity: for each identity: 60,000 requests a minute; 96 requests at once`. */
export function describeQuotas(rules: readonly QuotaRule[]): string[] {
  return rules.map((rule) => {
    const who = (["groups", "tenants", "models"] as const).flatMap((key) =>
      rule[key] ? [`${key} ${rule[key].join(", ")}`] : [],
    );
    const limits = quotaLimitsOf(rule).map(({ meter, limit }) => {
      const amount = `${limit.toLocaleString("en-GB")} ${meter.unit}`;
      return meter.window ? `${amount} a ${meter.window}` : amount;
    });
    return `${rule.name}: for each ${[rule.per, ...who].join("; ")}: ${limits.join("; ")}`;
  });
}

/** What is wrong with `config.quotas`, each with its place; nothing when it can be used. */
export function quotaFaults(value: unknown): string[] {
  if (!Array.isArray(value)) return ["config.quotas (a list of rules; an empty one limits nothing)"];
  const faults = value.flatMap((rule, position) => ruleFaults(rule).map((at) => `config.quotas[${position}]${at}`));
  const names = value.map((rule) => rule?.name);
  const twice = names.findIndex((name, position) => names.indexOf(name) !== position);
  return twice < 0 ? faults : [...faults, `config.quotas[${twice}].name (used twice)`];
}

const maxLimit = 1e12;

function ruleFaults(rule: unknown): string[] {
  if (typeof rule !== "object" || rule === null || Array.isArray(rule)) return [" (not an object)"];
  const isLimit = (value: unknown) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maxLimit;
  const limits: readonly string[] = quotaMeters.map(({ key }) => key);
  const faults = Object.entries(rule).flatMap(([key, value]) => {
    if (key === "name") return typeof value === "string" && /^[a-z][a-z0-9-]{0,31}$/.test(value) ? [] : [".name"];
    if (key === "per") return (scopes as readonly unknown[]).includes(value) ? [] : [`.per (${scopes.join(", ")})`];
    if (key === "groups" || key === "tenants" || key === "models") return isNames(value) ? [] : [`.${key}`];
    // A misspelled limit would limit nothing.
    if (!limits.includes(key)) return [`.${key} (not a limit)`];
    return isLimit(value) ? [] : [`.${key} (a whole number from 0)`];
  });
  for (const key of ["name", "per"]) if (!Object.hasOwn(rule, key)) faults.push(`.${key} (missing)`);
  if (!limits.some((key) => Object.hasOwn(rule, key))) faults.push(" (limits nothing)");
  return faults;
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === "string" && name !== "");
}
