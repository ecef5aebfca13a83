/** API tokens and client certificates that are believed now: the signed shards of bucket `credentials`, kept in memory. */
import type { Json } from "@sallyport/attestation";
import { apiTokenKey, apiTokenShardKey, apiTokenShards, matchesApiToken, parseApiToken } from "./api-token.ts";
import type { Clock } from "./clock.ts";
import { AppError } from "./errors.ts";
import type { CallerIdentity } from "./identity.ts";
import type { ClientCertificate } from "./identity-certificate.ts";
import { type WatchedState, type WatchOptions, watchState } from "./state.ts";
import { fields, invalid, list, text, time } from "./state-fields.ts";

/** Issuer, in records, of who came with a client certificate alone. */
export const certificateIssuer = "sallyport-mtls";

/** Which entry of the bucket a caller was believed for: it is cut off when that entry is gone. */
export type CredentialRef = `token/${string}` | `certificate/${string}`;

export interface Believed {
  readonly identity: CallerIdentity;
  readonly ref: CredentialRef;
}

export interface WatchedCredentials extends AsyncDisposable {
  /** Throws UNAUTHENTICATED (TOKEN_MALFORMED, TOKEN_EXPIRED, CREDENTIAL_REVOKED) or UNAVAILABLE (STATE_STALE). */
  token(bearer: string): Believed;
  /** Throws UNAUTHENTICATED (CERTIFICATE_EXPIRED, CERTIFICATE_UNBOUND) or UNAVAILABLE (STATE_STALE). */
  certificate(certificate: ClientCertificate): Believed;
  /** Whether the entry is still there. Throws STATE_STALE. */
  believes(ref: CredentialRef): boolean;
  readonly fresh: boolean;
  onChange(listener: () => void): () => void;
}

interface Entry {
  readonly id: string;
  readonly tenant: string;
  readonly subject: string;
  readonly groups: readonly string[];
}
interface Token extends Entry {
  readonly hash: string;
  readonly issuer: string;
  readonly expiresAt: Date;
}
interface Certificate extends Entry {
  readonly spiffeId?: string;
  readonly subjectDn?: string;
  readonly expiresAt?: Date;
}
type Tokens = ReadonlyMap<string, Token>;
interface Certificates {
  readonly byId: ReadonlyMap<string, Certificate>;
  readonly bySpiffeId: ReadonlyMap<string, Certificate>;
  readonly bySubjectDn: ReadonlyMap<string, Certificate>;
}

/** Returns at once; what was not read yet is stale. */
export function watchCredentials(
  options: Pick<WatchOptions<unknown>, "bus" | "trust" | "clock" | "log" | "monotonic">,
): WatchedCredentials {
  const shards = new Map<string, WatchedState<Tokens>>();
  const bucket = "credentials";
  for (let shard = 0; shard < apiTokenShards; shard += 1) {
    const key = apiTokenShardKey(shard);
    shards.set(key, watchState({ ...options, bucket, key, decode: readTokens }));
  }
  const certificates = watchState({ ...options, bucket, key: "certificates", decode: readCertificates });
  return new Credentials(shards, certificates, options.clock);
}

class Credentials implements WatchedCredentials {
  readonly #shards: ReadonlyMap<string, WatchedState<Tokens>>;
  readonly #certificates: WatchedState<Certificates>;
  readonly #clock: Clock;

  constructor(
    shards: ReadonlyMap<string, WatchedState<Tokens>>,
    certificates: WatchedState<Certificates>,
    clock: Clock,
  ) {
    this.#shards = shards;
    this.#certificates = certificates;
    this.#clock = clock;
  }

  token(bearer: string): Believed {
    const parsed = parseApiToken(bearer);
    if (!parsed) throw refused("TOKEN_MALFORMED", "the API token is cut or mistyped: copy it whole");
    const token = this.#shardOf(parsed.id).get(parsed.id);
    // One answer for an id that is not there and a secret that is not its own.
    if (!token || !matchesApiToken(bearer, token.hash))
      throw refused("CREDENTIAL_REVOKED", "the API token is not valid, or no longer: get a new one");
    if (token.expiresAt <= this.#clock.now())
      throw refused("TOKEN_EXPIRED", "the API token has expired: get a new one");
    return { identity: identityOf(token, token.issuer, token.id), ref: `token/${token.id}` };
  }

  certificate({ fingerprint, spiffeId, subjectDn, validTo }: ClientCertificate): Believed {
    const now = this.#clock.now();
    if (validTo <= now)
      throw refused("CERTIFICATE_EXPIRED", "the client certificate has expired: connect with a new one");
    const { bySpiffeId, bySubjectDn } = this.#certificates.get();
    const named = spiffeId !== undefined ? bySpiffeId.get(spiffeId) : undefined;
    const other = subjectDn !== undefined ? bySubjectDn.get(subjectDn) : undefined;
    const bound = named ?? other;
    // Whose it is nobody knows where two tenants claim it: one would get the other's requests.
    const disputed = named && other && named.tenant !== other.tenant;
    if (!bound || disputed || (bound.expiresAt && bound.expiresAt <= now)) {
      const message =
        "the client certificate stands for no identity here, or no longer: ask your administrator to bind it";
      throw refused("CERTIFICATE_UNBOUND", message);
    }
    return { identity: identityOf(bound, certificateIssuer, fingerprint), ref: `certificate/${bound.id}` };
  }

  believes(ref: CredentialRef): boolean {
    const [kind, id] = [ref.slice(0, ref.indexOf("/")), ref.slice(ref.indexOf("/") + 1)];
    return kind === "token" ? this.#shardOf(id).has(id) : this.#certificates.get().byId.has(id);
  }

  get fresh(): boolean {
    return this.#all.every(({ fresh }) => fresh);
  }

  onChange(listener: () => void): () => void {
    const stops = this.#all.map((state) => state.onChange(listener));
    return () => {
      for (const stop of stops) stop();
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((state) => state[Symbol.asyncDispose]()));
  }

  get #all(): readonly (WatchedState<Tokens> | WatchedState<Certificates>)[] {
    return [...this.#shards.values(), this.#certificates];
  }

  #shardOf(id: string): Tokens {
    return this.#shards.get(apiTokenKey(id))!.get();
  }
}

function identityOf({ tenant, subject, groups }: Entry, issuer: string, credential: string): CallerIdentity {
  return Object.freeze({ tenant, subject, issuer, groups: Object.freeze([...groups]), credential });
}

const tokenFields = ["id", "hash", "tenant", "issuer", "subject", "groups", "expiresAt"];

function readTokens(value: Json): Tokens {
  const tokens = list(fields(value, ["tokens"]).tokens, (entry): Token => {
    const { id, hash, issuer, expiresAt, ...rest } = fields(entry, tokenFields);
    return {
      ...readEntry(rest),
      id: text(id, /^[0-9a-f]{16}$/),
      hash: text(hash, /^[0-9a-f]{64}$/),
      issuer: text(issuer),
      expiresAt: time(expiresAt),
    };
  });
  return new Map(tokens.map((token) => [token.id, token]));
}

function readCertificates(value: Json): Certificates {
  const found = list(fields(value, ["certificates"]).certificates, (entry): Certificate => {
    const { id, spiffeId, subjectDn, expiresAt, ...rest } = fields(
      entry,
      ["id", "tenant", "subject", "groups"],
      ["spiffeId", "subjectDn", "expiresAt"],
    );
    if ((spiffeId === undefined) === (subjectDn === undefined)) throw invalid("a binding has one name");
    return {
      ...readEntry(rest),
      id: text(id),
      ...(spiffeId !== undefined ? { spiffeId: text(spiffeId) } : { subjectDn: text(subjectDn) }),
      ...(expiresAt !== undefined && { expiresAt: time(expiresAt) }),
    };
  });
  const by = (name: "id" | "spiffeId" | "subjectDn") =>
    new Map(found.flatMap((entry) => (entry[name] === undefined ? [] : [[entry[name], entry] as const])));
  return { byId: by("id"), bySpiffeId: by("spiffeId"), bySubjectDn: by("subjectDn") };
}

function readEntry({ tenant, subject, groups }: Record<string, Json | undefined>): Omit<Entry, "id"> {
  return {
    tenant: text(tenant, /^[a-z0-9][a-z0-9-]{0,63}$/),
    subject: text(subject),
    groups: list(groups, (group) => text(group)),
  };
}

function refused(reason: string, message: string): AppError {
  return new AppError("UNAUTHENTICATED", message, { reason });
}
