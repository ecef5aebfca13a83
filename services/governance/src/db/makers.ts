/** Who made a credential for an identity: what is asked with it may be their own, as they had it in their hands. */
import type { Queryable } from "@sallyport/runtime";
import type { Item } from "../domain/item.ts";

/**
 * Whether `person` ever made an API token, or bound a certificate, for the subject whose request this is. That it has
 * ended since changes nothing: the request was made before.
 */
export async function isMaker(
  db: Queryable,
  { tenant, subject }: Pick<Item, "tenant" | "subject">,
  person: string,
): Promise<boolean> {
  const of = "WHERE tenant = $1 AND subject = $2 AND creator = $3";
  const sql = `SELECT EXISTS (SELECT FROM tokens ${of}) OR EXISTS (SELECT FROM certificates ${of}) AS found`;
  return (await db.query<{ found: boolean }>(sql, [tenant, subject, person])).rows[0]?.found === true;
}
