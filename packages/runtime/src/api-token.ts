/**
 * API tokens, for SDKs that know only bearer keys: `sp_<id>_<secret><checksum>`. Pure; the form is in
 * docs/design/contracts.md. The id names a token in records and lists; the whole is kept by nobody but its owner.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Ids } from "./clock.ts";

const apiTokenPrefix = "sp_";
/** The buckets' keys `tokens-0` to `tokens-7`. */
export const apiTokenShards = 8;

const idBytes = 8;
const secretBytes = 32;
const checksumDigits = 6;
const idForm = /^[0-9a-f]{16}$/;
const tokenForm = /^(sp_([0-9a-f]{16})_[A-Za-z0-9_-]{43})([0-9a-f]{6})$/;

export interface NewApiToken {
  /** 16 lower-case hex digits. */
  readonly id: string;
  /** The whole token: shown once, never kept. */
  readonly token: string;
  /** Hex SHA-256 of the whole token: what is kept. */
  readonly hash: string;
}

/** A new token of 256 random bits, with an id of 64 more. */
export function createApiToken(ids: Pick<Ids, "bytes">): NewApiToken {
  const id = Buffer.from(ids.bytes(idBytes)).toString("hex");
  const body = `${apiTokenPrefix}${id}_${Buffer.from(ids.bytes(secretBytes)).toString("base64url")}`;
  const token = `${body}${checksumOf(body)}`;
  return { id, token, hash: hashApiToken(token) };
}

/** Whether a bearer claims to be an API token (and not a JWT): enough to choose who judges it. */
export function isApiToken(bearer: string): boolean {
  return bearer.startsWith(apiTokenPrefix);
}

/** The id, if form and checksum fit: undefined for what was mistyped, cut or made up. Says nothing of validity. */
export function parseApiToken(bearer: string): { readonly id: string } | undefined {
  const [, body, id, checksum] = tokenForm.exec(bearer) ?? [];
  if (body === undefined || id === undefined || checksum !== checksumOf(body)) return undefined;
  return { id };
}

/** Hex SHA-256. A token has 256 random bits, so that no slow hash is needed. */
export function hashApiToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** Compares a presented token with the stored hash, without telling by its time how far they agree. */
export function matchesApiToken(token: string, hash: string): boolean {
  const [presented, stored] = [Buffer.from(hashApiToken(token), "hex"), Buffer.from(hash, "hex")];
  return presented.length === stored.length && timingSafeEqual(presented, stored);
}

/** Key of bucket `credentials` that holds the token of this id. Throws RangeError for what is no id. */
export function apiTokenKey(id: string): string {
  if (!idForm.test(id)) throw new RangeError("an API token's id is 16 lower-case hex digits");
  return apiTokenShardKey(Number.parseInt(id[0]!, 16) >> 1);
}

/** Key of bucket `credentials` of shard 0 to 7. */
export function apiTokenShardKey(shard: number): string {
  return `tokens-${shard}`;
}

function checksumOf(body: string): string {
  return hashApiToken(body).slice(0, checksumDigits);
}
