/** Which of the live requests fall under switches, in one query over the small index of what is live. */
import type { Queryable, Switch, SwitchTarget } from "@sallyport/runtime";

const atWork = `state IN ('queued', 'running', 'held') AND (state <> 'held' OR hold_stage = 'collecting')`;

/** Ids of requests at work that one of the switches, or a credential that is not believed any more, is about. */
export async function findSwitchedOff(
  db: Queryable,
  switches: readonly Pick<Switch, "target">[],
  credentialRefs: readonly string[],
  limit: number,
): Promise<string[]> {
  const sql = `SELECT id FROM requests WHERE ${atWork} AND ($1 OR model = ANY($2) OR tenant = ANY($3) OR credential = ANY($4)
    OR (tenant, issuer, subject) IN (SELECT * FROM unnest($5::text[], $6::text[], $7::text[])) OR credential_ref = ANY($8))
    LIMIT $9`;
  const of = <S extends SwitchTarget["scope"]>(scope: S) =>
    switches.map(({ target }) => target).filter((target) => target.scope === scope) as Extract<
      SwitchTarget,
      { scope: S }
    >[];
  const identities = of("identity");
  const { rows } = await db.query<{ id: string }>(sql, [
    of("all").length > 0,
    of("model").map(({ model }) => model),
    of("tenant").map(({ tenant }) => tenant),
    of("credential").map(({ credential }) => credential),
    identities.map(({ tenant }) => tenant),
    identities.map(({ issuer }) => issuer),
    identities.map(({ subject }) => subject),
    credentialRefs,
    limit,
  ]);
  return rows.map(({ id }) => id);
}

/** The entries of the signed credentials that requests at work came with. */
export async function listCredentialRefs(db: Queryable): Promise<string[]> {
  const sql = `SELECT DISTINCT credential_ref AS ref FROM requests WHERE ${atWork} AND credential_ref <> ''`;
  return (await db.query<{ ref: string }>(sql)).rows.map(({ ref }) => ref);
}
