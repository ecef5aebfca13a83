/** What a caller's TLS certificate says of it, for its binding to an identity (docs/design/contracts.md). Pure. */
import { createHash, X509Certificate } from "node:crypto";

export interface ClientCertificate {
  /** Hex SHA-256 of the certificate (DER): names it in records. */
  readonly fingerprint: string;
  /** Its one URI SAN; undefined when it has none or several. */
  readonly spiffeId: string | undefined;
  /** RFC 4514, most specific first; undefined when it is empty or has a name of several parts. */
  readonly subjectDn: string | undefined;
  /** A connection may outlive it. */
  readonly validTo: Date;
}

/** `der`: a certificate that TLS has verified. Throws node:crypto's error for what is no certificate. */
export function readClientCertificate(der: Uint8Array): ClientCertificate {
  const certificate = new X509Certificate(der);
  return {
    fingerprint: createHash("sha256").update(der).digest("hex"),
    spiffeId: spiffeIdOf(certificate.subjectAltName ?? ""),
    subjectDn: subjectDnOf(certificate.subject ?? ""),
    validTo: new Date(certificate.validTo),
  };
}

/** RFC 8705, section 3.1: `cnf.x5t#S256` of a token that is bound to this certificate. */
export function thumbprintOf({ fingerprint }: Pick<ClientCertificate, "fingerprint">): string {
  return Buffer.from(fingerprint, "hex").toString("base64url");
}

function spiffeIdOf(names: string): string | undefined {
  // Node quotes a name that holds a comma or a quote (CVE-2021-44532): which name is whose could be disguised.
  if (names.includes('"')) return undefined;
  const [uri, another] = names.split(", ").filter((name) => name.startsWith("URI:"));
  return uri !== undefined && another === undefined ? uri.slice("URI:".length) : undefined;
}

/** Node writes one part a line, least specific first, values escaped as in RFC 4514 (a line break as \0A). */
function subjectDnOf(subject: string): string | undefined {
  const parts = subject.split("\n").filter((part) => part !== "");
  if (parts.length === 0 || parts.some((part) => part.includes(" + "))) return undefined;
  return parts.reverse().join(",");
}
