/** Whose turn is next of those who wait for one model, and how many jobs may lie ahead. Pure; docs/design/limits.md says what it promises. */

/** Whose a request is. */
export interface Party {
  readonly tenant: string;
  /** A person at one issuer of the tenant; see `partyOf`. */
  readonly identity: string;
}

/** A request that was sent to the bus, or begun. */
export interface AtWork extends Party {
  readonly id: string;
}

export interface Waiting extends AtWork {
  readonly since: Date;
}

export function partyOf({ tenant, issuer, subject }: { tenant: string; issuer: string; subject: string }): Party {
  return { tenant, identity: JSON.stringify([tenant, issuer, subject]) };
}

/**
 * At most `places` of those who wait, in the order of their turns. Next is who has the least at work: whose tenant has, of
 * these who has for themselves, of these who has waited longest. A turn counts as one more at work, so a flood waits for
 * itself, and a tenant that has nothing at work comes before every one that has. What is `atWork` may be named twice.
 */
export function nextInTurn<W extends Waiting>(waiting: readonly W[], atWork: readonly AtWork[], places: number): W[] {
  const counts = countsOf(atWork);
  const inOrder = [...waiting].sort((a, b) => a.since.getTime() - b.since.getTime());
  const lines = [...Map.groupBy(inOrder, ({ identity }) => identity).values()];
  const turns: W[] = [];
  while (turns.length < places && lines.length > 0) {
    const line = lines.reduce((one, other) => (comesBefore(other[0]!, one[0]!, counts) ? other : one));
    const next = line.shift()!;
    turns.push(next);
    count(counts, next);
    if (line.length === 0) lines.splice(lines.indexOf(line), 1);
  }
  return turns;
}

interface Counts {
  readonly tenants: Map<string, number>;
  readonly identities: Map<string, number>;
}

function countsOf(atWork: readonly AtWork[]): Counts {
  const counts: Counts = { tenants: new Map(), identities: new Map() };
  for (const each of new Map(atWork.map((each) => [each.id, each])).values()) count(counts, each);
  return counts;
}

function count({ tenants, identities }: Counts, { tenant, identity }: Party): void {
  tenants.set(tenant, (tenants.get(tenant) ?? 0) + 1);
  identities.set(identity, (identities.get(identity) ?? 0) + 1);
}

function comesBefore(one: Waiting, other: Waiting, { tenants, identities }: Counts): boolean {
  const byTenant = (tenants.get(one.tenant) ?? 0) - (tenants.get(other.tenant) ?? 0);
  const byIdentity = (identities.get(one.identity) ?? 0) - (identities.get(other.identity) ?? 0);
  return (byTenant || byIdentity || one.since.getTime() - other.since.getTime()) < 0;
}

/** However quickly a model's jobs are begun, no more than so many times the least lie ahead of a newcomer. */
const mostTimes = 8;
const latelyMs = 250;

/**
 * How many jobs may lie on the bus that nobody has begun: `least` of a slow model; of a quick one as many as were begun
 * within the last quarter of a second, so that no worker waits for the next one, and a newcomer waits as long for them.
 * `begun`: when the last ones were, in milliseconds.
 */
export function allowedAhead(begun: readonly number[], now: number, least: number): number {
  const lately = begun.filter((at) => at > now - latelyMs).length;
  return Math.max(least, Math.min(lately, least * mostTimes));
}

/** As many of the last beginnings as `allowedAhead` looks at. */
export function withBeginning(begun: readonly number[], at: number, least: number): number[] {
  return [...begun, at].slice(-least * mostTimes);
}
