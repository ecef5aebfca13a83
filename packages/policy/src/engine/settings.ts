import { PolicyError } from "../errors.ts";
import type { LinkSettings } from "../links/index.ts";
import { type QuotaRule, quotaFaults } from "../quotas/quotas.ts";
import type { MatcherSettings } from "../rules/matcher.ts";

/** The part of a bundle's `data.config` that code reads itself. Decisions are Rego's. */
export interface PolicySettings {
  name: string;
  ruleFiles: string[];
  matching: MatcherSettings;
  links: LinkSettings & { replacement: string };
  masking: { replacement: string };
  limits: { maxHits: number; maxLinks: number };
  /** door 2: how much text before a window is judged with it, and how much may be held back */
  review: { contextChars: number; maxHeldBackChars: number };
  /** the tier by which free-standing texts are judged (/v1/moderations) */
  moderation: { tier: string };
  /** how much a caller may ask for; all rules that are meant for a call hold */
  quotas: QuotaRule[];
  /** groups that an API token or a client certificate may carry */
  credentials: { grantable: string[] };
  /** public reason codes */
  codes: Record<string, { message: string; whatToDo: string }>;
}

/** Reads settings from parsed data.json; throws BUNDLE_INVALID naming every fault. */
export function readSettings(data: unknown): PolicySettings {
  const faults: string[] = [];
  const at = (path: string): unknown =>
    path.split(".").reduce<unknown>((value, key) => (isRecord(value) ? value[key] : undefined), data);
  const text = (path: string): string =>
    check(path, at(path), (value) => typeof value === "string" && value !== "") as string;
  const count = (path: string): number =>
    check(path, at(path), (value) => Number.isInteger(value) && (value as number) > 0) as number;
  const texts = (path: string): string[] =>
    check(
      path,
      at(path),
      (value) => Array.isArray(value) && value.every((item) => typeof item === "string"),
    ) as string[];
  const check = (path: string, value: unknown, good: (value: unknown) => boolean): unknown => {
    if (!good(value)) faults.push(path);
    return value;
  };
  const settings: PolicySettings = {
    name: text("config.name"),
    ruleFiles: texts("config.ruleFiles"),
    matching: {
      spacedMinLength: count("config.matching.spacedMinLength"),
      squashedMinLength: count("config.matching.squashedMinLength"),
      maxHitsPerRule: count("config.limits.maxHitsPerRule"),
    },
    links: { bareTopLevels: texts("config.links.bareTopLevels"), replacement: text("config.links.replacement") },
    masking: { replacement: text("config.masking.replacement") },
    limits: { maxHits: count("config.limits.maxHits"), maxLinks: count("config.limits.maxLinks") },
    review: {
      contextChars: count("config.review.contextChars"),
      maxHeldBackChars: count("config.review.maxHeldBackChars"),
    },
    moderation: { tier: text("config.moderation.tier") },
    quotas: at("config.quotas") as QuotaRule[],
    credentials: { grantable: texts("config.credentials.grantable") },
    codes: check("config.codes", at("config.codes"), isCodes) as PolicySettings["codes"],
  };
  faults.push(...quotaFaults(settings.quotas));
  if (faults.length > 0)
    throw new PolicyError("BUNDLE_INVALID", `data.json: missing or malformed: ${faults.join(", ")}`);
  return settings;
}

function isCodes(value: unknown): boolean {
  if (!isRecord(value)) return false;
  return Object.values(value).every(
    (code) => isRecord(code) && typeof code.message === "string" && typeof code.whatToDo === "string",
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
