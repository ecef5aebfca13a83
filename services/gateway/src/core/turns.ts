/**
 * Which requests of this gateway wait for their turn at a model, which were sent to the bus, and which a worker has begun.
 * In memory, so that a request with nobody before it goes its way without asking; the ledger corrects it again and again.
 */
import type { LiveRequest } from "../db/at-work.ts";
import { type AtWork, allowedAhead, nextInTurn, type Party, partyOf, withBeginning } from "../domain/turns.ts";

export interface TurnsOptions {
  /** As many jobs of a model as may always be sent that nobody has begun. */
  readonly least: number;
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
}

export class Turns {
  readonly #least: number;
  readonly #now: () => Date;
  /** By model: as many as are offered. */
  readonly #lines = new Map<string, Line>();

  constructor({ least, now }: TurnsOptions) {
    this.#least = least;
    this.#now = now;
  }

  get models(): string[] {
    return [...this.#lines.keys()];
  }

  count(model: string, stage: Stage): number {
    return [...this.#line(model).entries.values()].filter((entry) => entry.stage === stage).length;
  }

  enter({ id, model, attempt, since, ...person }: Entering): void {
    const entry: Entry = { id, model, attempt, since, ...partyOf(person), stage: "waits", at: this.#now(), order: 0 };
    this.#line(model).entries.set(id, entry);
  }

  /** Whose turn it is now; they count as sent from here on. */
  next(model: string): Turn[] {
    const line = this.#line(model);
    const all = [...line.entries.values()];
    const waiting = all.filter(({ stage }) => stage === "waits");
    if (waiting.length === 0) return [];
    const ahead = all.filter(({ stage, order }) => stage === "sent" && order > line.reached).length;
    const room = allowedAhead(line.beginnings, this.#now().getTime(), this.#least) - ahead;
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
    this.#line(model).entries.delete(id);
  }

  /** Sent so long ago, and not begun: to be sent again, in case that it was lost. */
  overdue(afterMs: number): Turn[] {
    const before = this.#now().getTime() - afterMs;
    const all = [...this.#lines.values()].flatMap(({ entries }) => [...entries.values()]);
    const overdue = all.filter(({ stage, at }) => stage === "sent" && at.getTime() < before);
    for (const entry of overdue) this.#move(entry, "sent");
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

  #move(entry: Entry, stage: Stage): void {
    entry.stage = stage;
    entry.at = this.#now();
  }

  #line(model: string): Line {
    const line = this.#lines.get(model) ?? { entries: new Map(), elsewhere: [], beginnings: [], sent: 0, reached: 0 };
    this.#lines.set(model, line);
    return line;
  }
}
