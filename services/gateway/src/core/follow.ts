/** A request's released windows in order, then how it ended (or that it is held), from the ledger and live. */
import type { Db } from "@sallyport/runtime";
import { AppError } from "@sallyport/runtime";
import { findRequest, listWindows, type RequestRow } from "../db/ledger.ts";
import { isTerminal } from "../domain/request-state.ts";
import type { Follower, ReleasedWindow } from "./live.ts";
import type { Runs } from "./runs.ts";

export type FollowEvent = { window: ReleasedWindow } | { outcome: RequestRow };

/** Without a live event for this long the ledger is asked: another replica may have moved the request on. */
const idleMs = 1_000;

export interface FollowOptions {
  readonly db: Db;
  readonly runs: Runs;
  readonly follower: Follower;
  readonly requestId: string;
  readonly signal: AbortSignal;
  /** Read the ledger first: the request is not new. */
  readonly catchUp: boolean;
}

export async function* follow(options: FollowOptions): AsyncGenerator<FollowEvent> {
  let next = 0;
  let ask = options.catchUp;
  while (!options.signal.aborted) {
    if (ask) {
      const { row, windows } = await readLedger(options, next);
      for (const window of windows) yield { window };
      next += windows.length;
      if (isSettled(row)) return yield { outcome: row };
    }
    const event = await options.follower.next(idleMs, options.signal);
    ask = event === undefined || ("window" in event && event.window.index > next);
    if (event === undefined || ask) continue;
    if ("row" in event) {
      if (isSettled(event.row) && event.row.windowsReleased <= next) return yield { outcome: event.row };
      ask = isSettled(event.row);
    } else if (event.window.index === next) {
      next += 1;
      yield event;
    }
  }
}

/** Nothing more comes to a stream: ended, or waiting for a person. */
function isSettled(row: RequestRow): boolean {
  return isTerminal(row.state) || row.state === "held";
}

async function readLedger({ db, runs, requestId }: FollowOptions, from: number) {
  const read = await db.transaction(async (tx) => {
    const row = await findRequest(tx, requestId);
    return { row, stored: row ? await listWindows(tx, requestId, row.attempt) : [] };
  });
  if (!read.row) throw new AppError("NOT_FOUND", `there is no request ${requestId}`, { reason: "REQUEST_NOT_FOUND" });
  const windows = await runs.openWindows(read.row, read.stored.slice(from));
  return { row: read.row, windows };
}
