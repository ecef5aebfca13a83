/** Services know each other by the SPIFFE id in their certificate: exactly one URI SAN (SPIFFE X.509-SVID, section 2). */
import type { PeerCertificate } from "node:tls";
import { type ServiceName, services } from "@sallyport/proto/subjects";

export const trustDomain = "sallyport.local";

export function spiffeId(service: ServiceName): string {
  return `spiffe://${trustDomain}/${service}`;
}

/** The service that a verified certificate names, or undefined. */
export function serviceOfCertificate(certificate: Pick<PeerCertificate, "subjectaltname">): ServiceName | undefined {
  const names = certificate.subjectaltname ?? "";
  // Node quotes a name that holds a comma or a quote (CVE-2021-44532). None of ours does, so such a list is refused.
  if (names.includes('"')) return undefined;
  const uris = names.split(", ").filter((name) => name.startsWith("URI:"));
  if (uris.length !== 1) return undefined;
  return services.find((service) => uris[0] === `URI:${spiffeId(service)}`);
}
