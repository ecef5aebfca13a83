/** API tokens. What is `listed` is in its shard of the signed tokens. */
import { apiTokenKey, type Queryable, type Tx } from "@sallyport/runtime";
import type { ListedToken, TokenRow } from "../domain/credential.ts";
import { tableOf } from "./table.ts";

const columns: Readonly<Record<keyof TokenRow, string>> = {
  id: "id",
  name: "name",
  tenant: "tenant",
  issuer: "issuer",
  subject: "subject",
  groups: "groups",
  creator: "creator",
  createdBy: "created_by",
  createdAt: "created_at",
  expiresAt: "expires_at",
  revokedAt: "revoked_at",
};
const { selected, insertion } = tableOf<TokenRow>("tokens", columns);

export async function insertToken(tx: Tx, row: TokenRow, hash: string): Promise<void> {
  await tx.query(...insertion(row, { hash }));
}

export async function findToken(db: Queryable, id: string): Promise<TokenRow | undefined> {
  return (await db.query<TokenRow>(`SELECT ${selected} FROM tokens WHERE id = $1`, [id])).rows[0];
}

/** All of one shard, by id. */
export async function listShard(tx: Tx, key: string): Promise<ListedToken[]> {
  const digits = [..."0123456789abcdef"].filter((digit) => apiTokenKey(digit.padEnd(16, "0")) === key);
  const sql = `SELECT id, hash, tenant, issuer, subject, groups, expires_at AS "expiresAt" FROM tokens
    WHERE listed AND left(id, 1) = ANY ($1) ORDER BY id`;
  return (await tx.query<ListedToken>(sql, [digits])).rows;
}

export type Owner = Pick<TokenRow, "tenant" | "issuer" | "subject">;

export async function countListed(tx: Tx, { tenant, issuer, subject }: Owner): Promise<number> {
  const sql = "SELECT count(*) AS count FROM tokens WHERE listed AND tenant = $1 AND issuer = $2 AND subject = $3";
  return Number((await tx.query<{ count: string }>(sql, [tenant, issuer, subject])).rows[0]?.count);
}

export interface TokenPage {
  /** Undefined: of every tenant. */
  tenant: string | undefined;
  /** Undefined: anybody's. */
  owner: Pick<Owner, "issuer" | "subject"> | undefined;
  includeEnded: boolean;
  limit: number;
}

/** Newest first. */
export async function listTokens(
  db: Queryable,
  { tenant, owner, includeEnded, limit }: TokenPage,
): Promise<TokenRow[]> {
  const sql = `SELECT ${selected} FROM tokens WHERE ($1::text IS NULL OR tenant = $1)
    AND ($2::text IS NULL OR (issuer = $2 AND subject = $3)) AND ($4 OR listed) ORDER BY created_at DESC, id LIMIT $5`;
  const who = [owner?.issuer ?? null, owner?.subject ?? null];
  return (await db.query<TokenRow>(sql, [tenant ?? null, ...who, includeEnded, limit])).rows;
}

export interface Ending {
  at: Date;
  by: string;
  justification: string;
}

/** Undefined when it was revoked before. */
export async function revokeListed(
  tx: Tx,
  id: string,
  { at, by, justification }: Ending,
): Promise<TokenRow | undefined> {
  const sql = `UPDATE tokens SET listed = false, revoked_at = $2, revoked_by = $3, justification = $4
    WHERE id = $1 AND revoked_at IS NULL RETURNING ${selected}`;
  return (await tx.query<TokenRow>(sql, [id, at, by, justification])).rows[0];
}

/** The end of one that still holds, brought forward; undefined when it has ended. */
export async function endListed(tx: Tx, id: string, at: Date): Promise<TokenRow | undefined> {
  const sql = `UPDATE tokens SET expires_at = least(expires_at, $2) WHERE id = $1 AND listed RETURNING ${selected}`;
  return (await tx.query<TokenRow>(sql, [id, at])).rows[0];
}

/** Keys of the shards that list what is past its time. */
export async function expiredShards(db: Queryable, now: Date): Promise<string[]> {
  const sql = "SELECT DISTINCT left(id, 1) AS digit FROM tokens WHERE listed AND expires_at <= $1";
  const { rows } = await db.query<{ digit: string }>(sql, [now]);
  return [...new Set(rows.map(({ digit }) => apiTokenKey(digit.padEnd(16, "0"))))].sort();
}

export async function unlistExpired(tx: Tx, now: Date): Promise<void> {
  await tx.query("UPDATE tokens SET listed = false WHERE listed AND expires_at <= $1", [now]);
}
