/**
 * Carries switches out on what is under way: streams are cut first, in memory; then the ledger ends the requests. Both on
 * every change, and again and again, for what came in between, what another replica accepted, and what went stale.
 */
import { periodically } from "@sallyport/runtime";
import type { Context } from "../context.ts";
import { findSwitchedOff, listCredentialRefs } from "../db/switched.ts";
import { endingAtWork, errorFor, unbelieved } from "./switched-off.ts";

const lookEveryMs = 200;
const roundEveryMs = 1_000;
const batch = 200;

export function startSwitchEnforcer(context: Context): AsyncDisposable {
  const { switches, credentials, inFlight, log } = context;
  const stack = new AsyncDisposableStack();
  const cut = () => {
    const ended = inFlight.end((about) => errorFor(context, about));
    if (ended > 0) log.warn({ ended }, "calls were cut off: switched off, or nobody knows");
  };
  const rounds = periodically(log, roundEveryMs, "end requests that are switched off", async () => {
    if ((await endSwitchedOff(context)) >= batch) rounds.hasten();
  });
  stack.use(rounds);
  // What changes is told; that nobody knows any more is not.
  const look = async () => {
    if (!switches.fresh || !credentials.fresh) cut();
  };
  stack.use(periodically(log, lookEveryMs, "cut off calls", look));
  const onChange = () => {
    cut();
    rounds.hasten();
  };
  for (const watched of [switches, credentials]) stack.defer(watched.onChange(onChange));
  return stack;
}

/** One round: a batch of requests at work that fall under a switch now, ended. Returns how many. */
async function endSwitchedOff(context: Context): Promise<number> {
  const { db, moves, switches, credentials } = context;
  // While nobody knows, nothing is ended for good: streams are cut, and nothing goes out.
  if (!switches.fresh) return 0;
  const holding = switches.holding();
  const gone = unbelieved(credentials, await listCredentialRefs(db));
  if (holding.length === 0 && gone.length === 0) return 0;
  const ids = await findSwitchedOff(db, holding, gone, batch);
  // Side by side: their commits share transactions.
  const ended = await Promise.all(ids.map((id) => moves.end(id, (row) => endingAtWork(context, row))));
  return ended.filter(Boolean).length;
}
