/** What a call takes of which quotas, and what an ended request is charged for. Pure; counting is in db/quotas.ts. */
import { createHash } from "node:crypto";
import {
  type QuotaLimit,
  type QuotaRule,
  type QuotaSubject,
  quotaLimitsOf,
  quotaMeters,
  quotaRulesFor,
} from "@sallyport/policy";
import type { CallerIdentity } from "@sallyport/runtime";
import type { State } from "./request-state.ts";

/** What a call takes, besides being one request. */
export interface Take {
  readonly tokens: number;
  readonly images: number;
}

/** One rule counted for one identity, tenant or model. */
export interface Counter {
  /** Hex SHA-256 of the rule's name and whom it counts: long names, and whose they are, stay out of the table. */
  readonly key: string;
  readonly limits: readonly QuotaLimit[];
  /** One number a meter, -1 for no limit. */
  readonly row: readonly number[];
}

/** A counter as it was counted last. */
export interface Counted {
  readonly limits: readonly QuotaLimit[];
  /** One number a meter. */
  readonly used: readonly number[];
}

export function countersFor(rules: readonly QuotaRule[], identity: CallerIdentity, model?: string): Counter[] {
  const subject: QuotaSubject = { tenant: identity.tenant, groups: identity.groups, model };
  return quotaRulesFor(rules, subject).map((rule) => ({
    key: createHash("sha256")
      .update(JSON.stringify(countedBy(rule, identity, model)))
      .digest("hex"),
    limits: quotaLimitsOf(rule),
    row: quotaMeters.map(({ key }) => rule[key] ?? -1),
  }));
}

function countedBy({ name, per }: QuotaRule, { tenant, issuer, subject }: CallerIdentity, model = ""): string[] {
  if (per === "tenant") return [name, per, tenant];
  return per === "model" ? [name, per, model] : [name, per, tenant, issuer, subject];
}

/** How much of a meter a call takes. */
export function wants({ unit }: QuotaLimit["meter"], { tokens, images }: Take): number {
  if (unit === "tokens") return tokens;
  return unit === "images" ? images : 1;
}

/** About four bytes a token in English, three and fewer in other languages: rather too many than too few. */
const bytesPerToken = 3;
/** A released window has about so many at most. */
const tokensPerWindow = 24;

export interface Size {
  readonly promptBytes: number;
  /** As asked for; 0 for the platform's default. */
  readonly maxTokens: number;
  readonly defaultMaxTokens: number;
  /** Of the model; 0 where it is not known. */
  readonly contextTokens: number;
}

/** What is set aside until it is known: the prompt by its length, and the longest answer that was asked for. */
export function reservedTokens({ promptBytes, maxTokens, defaultMaxTokens, contextTokens }: Size): number {
  const most = promptTokens(promptBytes) + (maxTokens || defaultMaxTokens);
  return contextTokens > 0 ? Math.min(most, contextTokens) : most;
}

function promptTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken);
}

export interface Ended {
  readonly state: State;
  /** A run of it was begun. */
  readonly ran: boolean;
  readonly windowsReleased: number;
  readonly promptBytes: number;
  /** The engine's own count, with the final window. */
  readonly usage?: { readonly promptTokens: number; readonly completionTokens: number };
}

/**
 * Null: nothing, not even the request, and all that was reserved is given back: what door 1 or a person refused before it
 * ran, what failed, what was cancelled while it waited. What was released of an answer is always charged, however it ended.
 */
export function chargedTokens({ state, ran, windowsReleased, promptBytes, usage }: Ended): number | null {
  if (usage) return usage.promptTokens + usage.completionTokens;
  const charged = state === "released" || windowsReleased > 0 || (ran && state !== "failed");
  return charged ? promptTokens(promptBytes) + windowsReleased * tokensPerWindow : null;
}
