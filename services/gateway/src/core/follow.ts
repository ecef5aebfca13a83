/** A request's released windows in order, then how it ended (or that it is held), from the ledger and live. */
import type { Db } from "@sallyport/runtime";
import { AppError } from "@sallyport/runtime";
import { findProgress, findRequest, type RequestRow } from "../db/ledger.ts";
import { listWindows } from "../db/windows.ts";
import { isTerminal } from "../domain/request-state.ts";
import type { Follower, ReleasedWindow } from "./live.ts";
import { readHeldOutput } from "./output.ts";
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
      const news = await readLedger(options, next);
      for (const window of news?.windows ?? []) yield { window };
      next += news?.windows.length ?? 0;
      if (news && isSettled(news.row)) return yield { outcome: news.row };
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
function isSettled({ state }: Pick<RequestRow, "state">): boolean {
  return isTerminal(state) || state === "held";
}

/** The windows from `from` on, and the row with them; undefined when there is nothing new. */
async function readLedger({ db, runs, requestId }: FollowOptions, from: number) {
  const progress = await findProgress(db, requestId);
  if (!progress) throw unknown(requestId);
  if (!isSettled(progress) && progress.windowsReleased <= from) return undefined;
  const { row, stored, whole } = await db.transaction(async (tx) => {
    const row = await findRequest(tx, requestId);
    if (!row) throw unknown(requestId);
    const whole = from === 0 ? await readHeldOutput(tx, runs, row) : undefined;
    return { row, whole, stored: whole ? [] : await listWindows(tx, requestId, row.attempt) };
  });
  if (!whole) return { row, windows: await runs.openWindows(row, stored, from) };
  // A person released the whole: whoever comes back for it gets that, not the parts that had gone out before the hold.
  const { attempt, content, release, chain } = await whole();
  const { hold, review, countersign } = release;
  return { row, windows: [{ attempt, index: 0, content, ticket: countersign, chain: { ...chain, hold, review } }] };
}

function unknown(requestId: string): AppError {
  return new AppError("NOT_FOUND", `there is no request ${requestId}`, { reason: "REQUEST_NOT_FOUND" });
}
