/** What the log is told of credentials: whose they are and what they carry, never what is secret of them. */
import type { Json } from "@sallyport/attestation";
import type { AuditMessage, CallerIdentity } from "@sallyport/runtime";
import type { CertificateRow, TokenRow } from "../domain/credential.ts";
import type { Justification } from "../domain/justification.ts";
import { auditEvent } from "../events.ts";

export function credentialEvent(
  event: "credential.created" | "credential.rotated" | "credential.revoked" | "credential.bound" | "credential.unbound",
  actor: CallerIdentity,
  row: TokenRow | CertificateRow,
  version: number,
  why?: Justification,
): AuditMessage {
  const { id, tenant, subject, groups, expiresAt } = row;
  const particular: Record<string, Json> =
    "issuer" in row ? { issuer: row.issuer } : { spiffeId: row.spiffeId, subjectDn: row.subjectDn };
  return auditEvent({
    event,
    actor,
    tenant,
    detail: {
      ...{ id, tenant, subject, version, groups: [...groups] },
      ...particular,
      ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
      ...(why && { justificationDigest: why.digest }),
    },
  });
}
