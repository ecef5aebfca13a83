import { ConfirmMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { services, subjects } from "@sallyport/proto/subjects";
import { type Bus, type Clock, type Db, type Logger, periodically } from "@sallyport/runtime";
import { type Gap, takeGaps } from "../db/arrivals.ts";

const lookEveryMs = 1_000;

/** Later events overtake earlier ones for a moment; only then is one missing. */
const gapGraceMs = 2_000;

/** How long a producer has to send again what it was asked for. */
const askAgainMs = 10_000;

export interface GapWatchOptions {
  readonly db: Db;
  readonly bus: Pick<Bus, "signal">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Asks producers again for what never arrived. */
export function startGapWatch({ db, bus, clock, log }: GapWatchOptions): AsyncDisposable {
  return periodically(log, lookEveryMs, "look for gaps", async () => {
    for (const gap of await findGaps(db, clock.now())) ask(gap, bus, log);
  });
}

function findGaps(db: Db, now: Date): Promise<Gap[]> {
  const before = (ms: number) => new Date(now.getTime() - ms);
  return db.transaction((tx) => takeGaps(tx, before(gapGraceMs), before(askAgainMs), now));
}

function ask({ producer, epoch, missing }: Gap, bus: Pick<Bus, "signal">, log: Logger): void {
  const service = services.find((name) => name === producer);
  if (service === undefined) return;
  log.warn({ producer, epoch, ranges: missing.length, first: missing[0]?.first }, "events are missing; asking again");
  const ranges = missing.map(({ first, last }) => ({ epoch, first: BigInt(first), last: BigInt(last) }));
  bus.signal(subjects.confirm(service), ConfirmMessageSchema, { missing: ranges });
}
