/** What is switched off, and whether something falls under it. Pure: the form is in docs/design/contracts.md (Switches). */
import { AppError } from "./errors.ts";

export const switchKinds = ["revocation", "ban", "pause"] as const;
export type SwitchKind = (typeof switchKinds)[number];

export type SwitchTarget =
  | { readonly scope: "all" }
  | { readonly scope: "model"; readonly model: string }
  | { readonly scope: "tenant"; readonly tenant: string }
  | { readonly scope: "identity"; readonly tenant: string; readonly issuer: string; readonly subject: string }
  | { readonly scope: "credential"; readonly credential: string };

export interface Switch {
  readonly id: string;
  readonly kind: SwitchKind;
  readonly target: SwitchTarget;
  /** Holds before this moment; without it until it is lifted. */
  readonly until?: Date;
}

/** What is known of a request or a caller. What is left out falls under no switch about it. */
export interface SwitchFacts {
  readonly tenant?: string;
  readonly issuer?: string;
  readonly subject?: string;
  readonly credential?: string;
  readonly model?: string;
}

/**
 * Finds the switch that something falls under in five look-ups, however many there are: of those with one target and kind
 * only the one that holds longest matters.
 */
export class SwitchIndex {
  readonly #byTarget = new Map<string, Partial<Record<SwitchKind, Switch>>>();

  constructor(switches: Iterable<Switch>) {
    for (const one of switches) {
      const key = keyOf(one.target);
      const found = this.#byTarget.get(key) ?? {};
      const other = found[one.kind];
      if (!other || untilMs(one) > untilMs(other)) found[one.kind] = one;
      this.#byTarget.set(key, found);
    }
  }

  /** The strongest that holds at `now`: a revocation before a ban before a pause. */
  find(facts: SwitchFacts, now: Date): Switch | undefined {
    let strongest: Switch | undefined;
    for (const key of keysOf(facts)) {
      const found = this.#byTarget.get(key);
      if (!found) continue;
      for (const kind of switchKinds) {
        const one = found[kind];
        if (!one || untilMs(one) <= now.getTime()) continue;
        if (!strongest || rank(kind) < rank(strongest.kind)) strongest = one;
      }
    }
    return strongest;
  }

  /** One for each target and kind, of those that hold at `now`. */
  holding(now: Date): Switch[] {
    const all = [...this.#byTarget.values()].flatMap((found) => switchKinds.map((kind) => found[kind]));
    return all.filter((one) => one !== undefined && untilMs(one) > now.getTime()) as Switch[];
  }
}

/** Whether a switch is about this caller by name, and not as one of everybody or of a tenant. */
export function isAboutCaller(
  target: SwitchTarget,
  { tenant, issuer, subject, credential }: Required<Omit<SwitchFacts, "model">>,
): boolean {
  if (target.scope === "credential") return target.credential === credential;
  if (target.scope !== "identity") return false;
  return target.tenant === tenant && target.issuer === issuer && target.subject === subject;
}

/** A revocation before a ban before a pause: the reason that lasts longest is told. */
export function strongestOf(switches: readonly Switch[]): Switch | undefined {
  return switches.toSorted((one, other) => rank(one.kind) - rank(other.kind))[0];
}

function keyOf(target: SwitchTarget): string {
  switch (target.scope) {
    case "all":
      return allKey;
    case "model":
      return modelKey(target.model);
    case "tenant":
      return tenantKey(target.tenant);
    case "identity":
      return identityKey(target.tenant, target.issuer, target.subject);
    case "credential":
      return credentialKey(target.credential);
  }
}

function keysOf({ tenant, issuer, subject, credential, model }: SwitchFacts): string[] {
  const keys = [allKey];
  if (model !== undefined) keys.push(modelKey(model));
  if (tenant !== undefined) keys.push(tenantKey(tenant));
  if (credential !== undefined) keys.push(credentialKey(credential));
  if (tenant !== undefined && issuer !== undefined && subject !== undefined)
    keys.push(identityKey(tenant, issuer, subject));
  return keys;
}

const allKey = "a";
const modelKey = (model: string) => `m${model}`;
const tenantKey = (tenant: string) => `t${tenant}`;
const credentialKey = (credential: string) => `c${credential}`;
/** The lengths keep apart what would read the same side by side. */
const identityKey = (tenant: string, issuer: string, subject: string) =>
  `i${tenant.length}:${tenant}${issuer.length}:${issuer}${subject}`;

function untilMs({ until }: Switch): number {
  return until?.getTime() ?? Number.POSITIVE_INFINITY;
}

function rank(kind: SwitchKind): number {
  return switchKinds.indexOf(kind);
}

const refusals = {
  pause: ["UNAVAILABLE", "PAUSED", "the platform's operators have paused this; try again later, not at once"],
  ban: ["PERMISSION_DENIED", "BANNED", "this identity may not call any more; ask your administrator"],
  revocation: ["UNAUTHENTICATED", "CREDENTIAL_REVOKED", "this credential was revoked; get a new one"],
} as const satisfies Record<SwitchKind, readonly [string, string, string]>;

/** Public code of what a switch ends or refuses. */
export type SwitchCode = (typeof refusals)[SwitchKind][1];

export function switchCode({ kind }: Pick<Switch, "kind">): SwitchCode {
  return refusals[kind][1];
}

/** How worker and door 2 report a run that they stopped for a switch; which one it was the gateway knows itself. */
export const stoppedBySwitch = "SWITCHED_OFF";

const kindsByCode = new Map<string, SwitchKind>(switchKinds.map((kind) => [refusals[kind][1], kind]));

export function isSwitchCode(code: string): code is SwitchCode {
  return kindsByCode.has(code);
}

/** What a caller is told who falls under a switch: PAUSED, BANNED or CREDENTIAL_REVOKED. */
export function switchError(code: SwitchCode, details: Readonly<Record<string, string>> = {}): AppError {
  const [errorCode, reason, message] = refusals[kindsByCode.get(code)!];
  return new AppError(errorCode, message, { reason, details });
}
