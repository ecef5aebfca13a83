/**
 * Which requests of this gateway wait for their turn at a model, which were sent to the bus, and which a worker has begun.
 * In memory, so that a request with nobody before it goes its way without asking; the ledger corrects it again and again.
 */
import type { LiveRequest } from "../db/at-work.ts";
import { type AtWork, allowedAhead, nextInTurn, type Party, partyOf, withBeginning } from "../domain/turns.ts";

export interface TurnsOptions {
  /** As many jobs of a model as may always be sent that nobody has begun. */
  readonly least: number;
  /** What was sent so long ago and not begun may have been lost, and is sent again. */
  readonly patienceMs: number;
  readonly now: () => Date;
}

export interface Place {
  readonly id: string;
  readonly model: string;
}

export interface Turn extends Place {
  readonly attempt: number;
}

export interface Entering extends Turn {
  readonly tenant: string;
  readonly issuer: string;
  readonly subject: string;
  /** When it came to the queue. */
  readonly since: Date;
}

export const stages = ["waits", "sent", "begun"] as const;
export type Stage = (typeof stages)[number];

interface Entry extends Turn, Party {
  readonly since: Date;
  stage: Stage;
  /** When it came to this stage. */
  at: Date;
  /** Its place among all that were sent; 0 for one that never was. */
  order: number;
  /** How often it was sent again. */
  again: number;
}

interface Line {
  readonly entries: Map<string, Entry>;
  /** What runs besides them: of other gateways, or of this one before it was started anew. */
  elsewhere: readonly AtWork[];
  /** When the last ones were begun, in milliseconds. */
  beginnings: readonly number[];
  /** How many were sent in all. */
  sent: number;
  /** As far as workers came, by `order`: the bus is first in, first out, so what was sent before is at a worker as well. */
  reached: number;
  /** Sent, and ended before anybody began them: their jobs lie on the bus all the same. By id. */
  readonly gone: Map<string, Pick<Entry, "order" | "at">>;
}

/** Sent again so often and not begun: it may have been buried. It is sent on, and nobody waits behind it any more. */
const triedOften = 2;

export class Turns {
  readonly #least: number;
  readonly #patienceMs: number;
  readonly #now: () => Date;
  /** By model: as many as are offered. */
  readonly #lines = new Map<string, Line>();

  constructor({ least, patienceMs, now }: TurnsOptions) {
    this.#least = least;
    this.#patienceMs = patienceMs;
    this.#now = now;
  }

  get models(): string[] {
    return [...this.#lines.keys()];
  }

  count(model: string, stage: Stage): number {
    return [...this.#line(model).entries.values()].filter((entry) => entry.stage === stage).length;
  }

  enter({ id, model, attempt, since, ...person }: Entering): void {
    const entry = { id, model, attempt, since, ...partyOf(person), stage: "waits" as const, at: this.#now() };
    this.#line(model).entries.set(id, { ...entry, order: 0, again: 0 });
  }

  /** In the line, and not sent. */
  waits({ id, model }: Place): boolean {
    return this.#line(model).entries.get(id)?.stage === "waits";
  }

  /** Whose turn it is now; they count as sent from here on. */
  next(model: string): Turn[] {
    const line = this.#line(model);
    const all = [...line.entries.values()];
    const waiting = all.filter(({ stage }) => stage === "waits");
    if (waiting.length === 0) return [];
    const room = allowedAhead(line.beginnings, this.#now().getTime(), this.#least) - this.#ahead(line);
    if (room <= 0) return [];
    const atWork = all.filter(({ stage }) => stage !== "waits");
    const turns = waiting.length === 1 ? waiting : nextInTurn(waiting, [...atWork, ...line.elsewhere], room);
    for (const entry of turns) {
      this.#move(entry, "sent");
      line.sent += 1;
      entry.order = line.sent;
    }
    return turns;
  }

  /** It could not be sent. */
  back({ id, model }: Place): void {
    const entry = this.#line(model).entries.get(id);
    if (entry?.stage === "sent") this.#move(entry, "waits");
  }

  begun({ id, model }: Place): void {
    const line = this.#line(model);
    const entry = line.entries.get(id);
    if (!entry || entry.stage === "begun") return;
    this.#move(entry, "begun");
    line.reached = Math.max(line.reached, entry.order);
    line.beginnings = withBeginning(line.beginnings, entry.at.getTime(), this.#least);
  }

  /** It ended, or waits for a person. */
  left({ id, model }: Place): void {
    const { entries, gone, reached } = this.#line(model);
    const entry = entries.get(id);
    entries.delete(id);
    // Who sends and cancels again and again would fill the bus otherwise.
    if (entry?.stage === "sent" && entry.order > reached) gone.set(id, entry);
  }

  /** Sent so long ago, and not begun: to be sent again, in case that it was lost. */
  overdue(): Turn[] {
    const before = this.#longAgo();
    const all = [...this.#lines.values()].flatMap(({ entries }) => [...entries.values()]);
    const overdue = all.filter(({ stage, at }) => stage === "sent" && at < before);
    for (const entry of overdue) {
      this.#move(entry, "sent");
      entry.again += 1;
    }
    return overdue;
  }

  /** By the ledger, which was asked at `askedAt`: what another replica did, and this one before it was started anew. */
  correct(live: readonly LiveRequest[], askedAt: Date): void {
    const own = new Map(live.filter((each) => each.own).map((each) => [each.id, each]));
    for (const { entries } of this.#lines.values()) {
      for (const [id, { at }] of entries) if (at < askedAt && !own.has(id)) entries.delete(id);
    }
    for (const each of own.values()) if (each.queued && !this.#knows(each)) this.enter(each);
    for (const { model } of live) this.#line(model);
    for (const [model, line] of this.#lines) {
      const runs = (each: LiveRequest) => each.model === model && !each.queued && !line.entries.has(each.id);
      line.elsewhere = live.filter(runs).map((each) => ({ id: each.id, ...partyOf(each) }));
    }
  }

  /** Not when it was begun here, and another replica queued it for its next attempt. */
  #knows({ id, model, attempt }: LiveRequest): boolean {
    return this.#line(model).entries.get(id)?.attempt === attempt;
  }

  /** How many lie on the bus before whoever is sent next. */
  #ahead({ entries, gone, reached }: Line): number {
    const before = this.#longAgo();
    for (const [id, { order, at }] of gone) if (order <= reached || at < before) gone.delete(id);
    const lies = ({ stage, order, again }: Entry) => stage === "sent" && order > reached && again < triedOften;
    return [...entries.values()].filter(lies).length + gone.size;
  }

  #longAgo(): Date {
    return new Date(this.#now().getTime() - this.#patienceMs);
  }

  #move(entry: Entry, stage: Stage): void {
    entry.stage = stage;
    entry.at = this.#now();
  }

  #line(model: string): Line {
    const known = this.#lines.get(model);
    if (known) return known;
    const line = { entries: new Map(), gone: new Map(), elsewhere: [], beginnings: [], sent: 0, reached: 0 };
    this.#lines.set(model, line);
    return line;
  }
}
