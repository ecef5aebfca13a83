/** API tokens and client certificates: who may make which, and what is signed of them. */
import type { Json } from "@sallyport/attestation";
import type {
  BindCertificateRequest,
  CreateTokenRequest,
  RotateTokenRequest,
} from "@sallyport/proto/sallyport/governance/v1/credentials";
import { AppError, type CallerIdentity } from "@sallyport/runtime";
import { must, readExpiry, readName, readTenant } from "./fields.ts";

/** Issuer in records of identities that only Sallyport knows (docs/design/contracts.md, Callers' identities). */
export const serviceIssuer = "sallyport";

const dayMs = 24 * 3_600_000;
const defaultTokenDays = 90;
const defaultOverlapMs = 3_600_000;
const maxTokenDays = 365;
const maxBindingDays = 3_650;
const maxGroups = 20;

/** Without its hash, so that nothing that is shown or told can hold it. */
export interface TokenRow {
  id: string;
  name: string;
  tenant: string;
  issuer: string;
  subject: string;
  groups: readonly string[];
  /** "<issuer> <subject>". */
  creator: string;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date;
  revokedAt: Date | null;
}

export interface CertificateRow {
  id: string;
  spiffeId: string | null;
  subjectDn: string | null;
  tenant: string;
  subject: string;
  groups: readonly string[];
  creator: string;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date | null;
  unboundAt: Date | null;
}

type NewToken = Pick<TokenRow, "name" | "tenant" | "issuer" | "subject" | "groups" | "expiresAt"> & { own: boolean };

/** Throws INVALID_ARGUMENT naming the field, or PERMISSION_DENIED (GROUP_NOT_GRANTABLE, NO_GRANTABLE_GROUP). */
export function readNewToken(
  request: CreateTokenRequest,
  caller: CallerIdentity,
  grantable: readonly string[],
  now: Date,
): NewToken {
  const { serviceAccount } = request;
  const own = serviceAccount === "";
  must(!own || request.tenant === "" || request.tenant === caller.tenant, "tenant", "is for a service account");
  must(own || /^[a-z0-9][a-z0-9-]{0,62}$/.test(serviceAccount), "service_account", "is 1 to 63 of a-z, 0-9 and -");
  const name = readName(request.name, "name", 64);
  const expiresAt = readExpiry(request.expiresInSeconds, now, maxTokenDays);
  const identity = own
    ? { tenant: caller.tenant, issuer: caller.issuer, subject: caller.subject }
    : {
        tenant: request.tenant === "" ? caller.tenant : readTenant(request.tenant),
        issuer: serviceIssuer,
        subject: `service/${serviceAccount}`,
      };
  return {
    ...{ own, name, ...identity },
    groups: own ? ownGroups(request.groups, caller, grantable) : readGroups(request.groups, grantable),
    expiresAt: expiresAt ?? new Date(now.getTime() + defaultTokenDays * dayMs),
  };
}

/** Until when both hold, and until when the successor does. Throws INVALID_ARGUMENT naming the field. */
export function readRotation(
  request: Pick<RotateTokenRequest, "keepForSeconds" | "expiresInSeconds">,
  now: Date,
): { formerEndsAt: Date; expiresAt: Date } {
  const kept = readExpiry(request.keepForSeconds, now, maxTokenDays, "keep_for_seconds");
  const expiresAt = readExpiry(request.expiresInSeconds, now, maxTokenDays);
  return {
    formerEndsAt: kept ?? new Date(now.getTime() + defaultOverlapMs),
    expiresAt: expiresAt ?? new Date(now.getTime() + defaultTokenDays * dayMs),
  };
}

/** Nobody hands on what they do not have. */
function ownGroups(wanted: readonly string[], { groups }: CallerIdentity, grantable: readonly string[]): string[] {
  const may = grantable.filter((group) => groups.includes(group));
  if (wanted.length > 0) return readGroups(wanted, may);
  if (may.length > 0) return may;
  throw new AppError("PERMISSION_DENIED", "none of your groups may be carried by an API token", {
    reason: "NO_GRANTABLE_GROUP",
  });
}

/** A successor's: what its owner has lost since, or policy has taken back, does not live on in it. */
export function keptGroups(
  { groups }: Pick<TokenRow, "groups">,
  grantable: readonly string[],
  owner: Pick<CallerIdentity, "groups"> | undefined,
): string[] {
  const kept = groups.filter((group) => grantable.includes(group) && (!owner || owner.groups.includes(group)));
  if (kept.length > 0) return kept;
  throw new AppError("PERMISSION_DENIED", "none of the token's groups may be carried by a successor", {
    reason: "NO_GRANTABLE_GROUP",
  });
}

function readGroups(wanted: readonly string[], may: readonly string[]): string[] {
  must(wanted.length >= 1 && wanted.length <= maxGroups, "groups", `are 1 to ${maxGroups}`);
  const refused = wanted.find((group) => !may.includes(group));
  if (refused === undefined) return [...new Set(wanted)].sort();
  readName(refused, "groups", 128);
  throw new AppError("PERMISSION_DENIED", `a credential made by you may not carry the group ${refused}`, {
    reason: "GROUP_NOT_GRANTABLE",
    details: { field: "groups" },
  });
}

type NewCertificate = Pick<CertificateRow, "spiffeId" | "subjectDn" | "tenant" | "subject" | "groups" | "expiresAt">;

/** Throws as readNewToken does. */
export function readBinding(
  request: BindCertificateRequest,
  caller: CallerIdentity,
  grantable: readonly string[],
  now: Date,
): NewCertificate {
  return {
    ...readMatch(request.match),
    tenant: request.tenant === "" ? caller.tenant : readTenant(request.tenant),
    subject: readName(request.subject, "subject", 256),
    groups: readGroups(request.groups, grantable),
    expiresAt: readExpiry(request.expiresInSeconds, now, maxBindingDays) ?? null,
  };
}

const spiffeForm = /^spiffe:\/\/[a-z0-9][a-z0-9._-]{0,254}(?:\/[A-Za-z0-9._-]+)+$/;

function readMatch(match: BindCertificateRequest["match"]): Pick<CertificateRow, "spiffeId" | "subjectDn"> {
  if (match.case === "spiffeId") {
    const fits = match.value.length <= 2_048 && spiffeForm.test(match.value);
    must(fits, "spiffe_id", "is a SPIFFE id with a path, such as spiffe://example.org/ns/apps/sa/mail");
    return { spiffeId: match.value, subjectDn: null };
  }
  must(match.case === "subjectDn", "match", "is needed: spiffe_id or subject_dn");
  must(/^[A-Za-z0-9.]+=/.test(match.value), "subject_dn", "is a subject of RFC 4514, such as CN=mail,O=Example");
  return { spiffeId: null, subjectDn: readName(match.value, "subject_dn", 1_024) };
}

export type ListedToken = Pick<TokenRow, "id" | "tenant" | "issuer" | "subject" | "groups" | "expiresAt"> & {
  hash: string;
};

/** The value of a shard, tokens by id. */
export function tokensValue(tokens: readonly ListedToken[]): { tokens: Json[] } {
  return {
    tokens: tokens.map(({ id, hash, tenant, issuer, subject, groups, expiresAt }) => ({
      ...{ id, hash, tenant, issuer, subject },
      groups: [...groups],
      expiresAt: expiresAt.toISOString(),
    })),
  };
}

/** The value of key `certificates`. */
export function certificatesValue(bound: readonly CertificateRow[]): { certificates: Json[] } {
  return {
    certificates: bound.map(({ id, spiffeId, subjectDn, tenant, subject, groups, expiresAt }) => ({
      ...{ id, tenant, subject },
      groups: [...groups],
      ...(spiffeId !== null && { spiffeId }),
      ...(subjectDn !== null && { subjectDn }),
      ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
    })),
  };
}
