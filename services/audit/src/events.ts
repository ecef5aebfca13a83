/** What the audit service tells the log about itself. It needs no bus: it holds the pen. */
import { canonicalBytes } from "@sallyport/attestation";
import { leafHash } from "@sallyport/tlog";
import type { LogEvent, Place } from "./domain/event.ts";

export type OwnFacts =
  | { readonly event: "log.started"; readonly detail: { readonly origin: string; readonly size: number } }
  | {
      readonly event: "log.rejected";
      /** Which place stays without a record of its own, why, and the SHA-256 of what came. */
      readonly detail: {
        readonly producer: string;
        readonly epoch: string;
        readonly sequence: number;
        readonly reason: string;
        readonly digest: string;
      };
    }
  | {
      readonly event: "vault.opened";
      readonly requestId: string;
      readonly reviewer: string;
      /** Whose request it is, as far as the log knows. */
      readonly tenant: string | undefined;
      readonly detail: { readonly kind: "prompt" | "output"; readonly lease: string; readonly leaseExpiresAt: string };
    };

/** The record of one of the service's own acts. Throws nothing that an operator could cause. */
export function buildOwnEvent(facts: OwnFacts, place: Place, now: Date): LogEvent {
  const { requestId, tenant } = facts.event === "vault.opened" ? facts : {};
  const record = canonicalBytes({
    v: 1,
    ...place,
    time: now.toISOString(),
    event: facts.event,
    ...(tenant && { tenant }),
    ...(requestId && { request: { id: requestId } }),
    ...(facts.event === "vault.opened" && { actor: { subject: facts.reviewer } }),
    detail: facts.detail,
  });
  return {
    place,
    event: facts.event,
    requestId,
    tenant,
    terminal: false,
    record,
    leaf: leafHash(record),
    bodies: [],
    jwe: undefined,
  };
}
