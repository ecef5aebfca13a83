/** A switch of the kill switch: what it may be about, who may lift it, and what is signed of it. */
import type { Json } from "@sallyport/attestation";
import type { AuthzInput } from "@sallyport/policy";
import {
  type PauseRequest,
  SwitchKind as WireKind,
  type SwitchTarget as WireTarget,
} from "@sallyport/proto/sallyport/governance/v1/switches";
import { AppError, type CallerIdentity, isAboutCaller, type SwitchKind, type SwitchTarget } from "@sallyport/runtime";
import { must, readExpiry, readName, readTenant } from "./fields.ts";

export type SwitchState = "active" | "resume_asked" | "lifted" | "expired";

export interface SwitchRow {
  id: string;
  kind: SwitchKind;
  target: SwitchTarget;
  /** Whose it is: a tenant; `everybodys`; `nobodys`. */
  tenant: string;
  state: SwitchState;
  /** "<issuer> <subject>". */
  setter: string;
  setBy: string;
  setAt: Date;
  expiresAt: Date | null;
  asker: string;
  resumeAskedBy: string;
  liftedBy: string;
  endedAt: Date | null;
  breakGlass: boolean;
  /** Its setter was of the platform's staff. */
  ofPlatform: boolean;
}

/** Models and the platform itself. */
export const everybodys = "*";
/** A credential that governance knows nothing of. */
export const nobodys = "";

const maxExpiryDays = 366;

export interface Wanted {
  kind: SwitchKind;
  target: SwitchTarget;
  expiresAt: Date | null;
}

/** Throws INVALID_ARGUMENT naming the field. */
export function readPause({ target, kind, expiresInSeconds }: PauseRequest, now: Date): Wanted {
  const read = { target: readTarget(target), kind: readKind(kind) };
  const { scope } = read.target;
  must(read.kind !== "ban" || scope === "identity", "kind", "ban is for an identity");
  must(read.kind !== "revocation" || scope === "credential", "kind", "revocation is for a credential");
  return { ...read, expiresAt: readExpiry(expiresInSeconds, now, maxExpiryDays) ?? null };
}

function readKind(kind: WireKind): SwitchKind {
  if (kind === WireKind.UNSPECIFIED || kind === WireKind.PAUSE) return "pause";
  must(kind === WireKind.BAN || kind === WireKind.REVOCATION, "kind", "is pause, ban or revocation");
  return kind === WireKind.BAN ? "ban" : "revocation";
}

function readTarget(message: WireTarget | undefined): SwitchTarget {
  const target = message?.target;
  switch (target?.case) {
    case "everything":
      must(target.value, "target.everything", "must be true");
      return { scope: "all" };
    case "model":
      return { scope: "model", model: readName(target.value, "target.model", 64) };
    case "tenant":
      return { scope: "tenant", tenant: readTenant(target.value, "target.tenant") };
    case "credential":
      return { scope: "credential", credential: readName(target.value, "target.credential", 128) };
    case "identity": {
      const { tenant, issuer, subject } = target.value;
      return {
        scope: "identity",
        tenant: readTenant(tenant, "target.identity.tenant"),
        issuer: readName(issuer, "target.identity.issuer", 512),
        subject: readName(subject, "target.identity.subject", 256),
      };
    }
  }
  throw new AppError("INVALID_ARGUMENT", "target is needed: everything, a model, a tenant, an identity, a credential", {
    reason: "INVALID_FIELD",
    details: { field: "target" },
  });
}

/** What policy is asked about. */
export function resourceOf({ target, tenant }: Pick<SwitchRow, "target" | "tenant">): AuthzInput["resource"] {
  if (tenant !== everybodys && tenant !== nobodys) return { tenant };
  return { platform: true, ...(target.scope === "model" && { model: target.model }) };
}

/** Past every tenant's office, so that no tenant's operators undo it, though it is about their tenant. */
export function needsStaff({ breakGlass, ofPlatform }: Pick<SwitchRow, "breakGlass" | "ofPlatform">): boolean {
  return breakGlass || ofPlatform;
}

export function holds({ state, expiresAt }: SwitchRow, now: Date): boolean {
  return (state === "active" || state === "resume_asked") && !(expiresAt && expiresAt <= now);
}

/**
 * What `person` does by asking to lift the switch: the first asks, another one lifts. Throws FAILED_PRECONDITION
 * (SWITCH_ENDED, NEVER_LIFTED) or PERMISSION_DENIED (SAME_PERSON, ABOUT_YOURSELF).
 */
export function resumeStep(row: SwitchRow, caller: CallerIdentity, person: string, now: Date): "ask" | "lift" {
  if (!holds(row, now)) {
    throw new AppError("FAILED_PRECONDITION", "the switch has ended already", { reason: "SWITCH_ENDED" });
  }
  if (row.kind === "revocation") {
    const message = "a revoked credential does not come back; get a new one";
    throw new AppError("FAILED_PRECONDITION", message, { reason: "NEVER_LIFTED" });
  }
  if (isAboutCaller(row.target, caller)) {
    const message = "nobody lifts a switch about themselves; ask two others";
    throw new AppError("PERMISSION_DENIED", message, { reason: "ABOUT_YOURSELF" });
  }
  if (row.state === "active") return "ask";
  if (row.asker !== person) return "lift";
  throw new AppError("PERMISSION_DENIED", "you have asked already; a second person has to lift it", {
    reason: "SAME_PERSON",
  });
}

/** The value of key `active`: what holds, and which of the break-glass switches were ended here. */
export function switchesValue(holding: readonly SwitchRow[], lifted: readonly string[]): Record<string, Json> {
  return { switches: holding.map(signedSwitch), lifted: [...lifted] };
}

function signedSwitch({ id, kind, target, expiresAt }: SwitchRow): Json {
  return { id, kind, target: { ...target }, ...(expiresAt && { until: expiresAt.toISOString() }) };
}
