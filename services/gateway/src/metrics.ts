/** What the gateway counts: tickets, windows, how requests end; and what its ledger holds, read at each scrape. */
import { cached, counter, type Db, histogram, observe, observeValue, requestBuckets } from "@sallyport/runtime";
import type { Dispatcher } from "./core/dispatcher.ts";
import type { InFlight } from "./core/in-flight.ts";
import type { RequestRow } from "./db/ledger.ts";

const windows = counter("sallyport_windows_released_total", "Windows whose ticket held, committed and given out.");
const ended = counter("sallyport_requests_ended_total", "Requests that ended, by state and code.", ["state", "code"]);
const duration = histogram("sallyport_request_seconds", "From acceptance to the end.", ["state"], requestBuckets);
const firstWindow = histogram(
  "sallyport_first_window_seconds",
  "From acceptance to the first released window.",
  [],
  requestBuckets,
);
const retries = counter("sallyport_attempts_lost_total", "Attempts that were lost and tried again, by cause.", [
  "code",
]);

const quotas = counter(
  "sallyport_quota_checks_total",
  "Calls that asked for their share of the quotas, by the answer.",
  ["result"],
);

export function countQuota(result: string): void {
  quotas.inc({ result });
}

export function countReleased({ createdAt, windowsReleased }: RequestRow, now: Date): void {
  windows.inc({});
  if (windowsReleased === 1) firstWindow.observe({}, (now.getTime() - createdAt.getTime()) / 1_000);
}

export function countEnded({ state, code, createdAt, endedAt }: RequestRow): void {
  if (!endedAt) return;
  ended.inc({ state, code: code || "OK" });
  duration.observe({ state }, (endedAt.getTime() - createdAt.getTime()) / 1_000);
}

export function countLostAttempt(code: string): void {
  retries.inc({ code });
}

const askEveryMs = 5_000;

interface LiveRow {
  state: string;
  model: string;
  count: number;
  oldest: number;
}

interface Observed {
  readonly db: Db;
  readonly inFlight: InFlight;
  readonly dispatcher: Dispatcher;
}

/** Every gateway shows the whole ledger: it is one for all of them. Calls, and turns at models, are its own. */
export function observeLedger({ db, inFlight, dispatcher }: Observed): Disposable {
  const sql = `SELECT state::text AS state, model, count(*)::float AS count,
      extract(epoch FROM now() - min(created_at))::float AS oldest
    FROM requests WHERE state IN ('queued', 'running', 'held') GROUP BY state, model`;
  const live = cached(askEveryMs, async () => (await db.query<LiveRow>(sql)).rows);
  const stack = new DisposableStack();
  const states = ["queued", "running", "held"];
  const sum = (rows: readonly LiveRow[]) => rows.reduce((total, { count }) => total + count, 0);
  const byState = async () => {
    const rows = await live();
    return states.map((state) => ({ labels: { state }, value: sum(rows.filter((row) => row.state === state)) }));
  };
  const queued = (field: "count" | "oldest") => async () =>
    (await live())
      .filter(({ state }) => state === "queued")
      .map((row) => ({ labels: { model: row.model }, value: row[field] }));
  stack.use(observe("sallyport_ledger_requests", "Requests that have not ended, by state.", ["state"], byState));
  stack.use(observe("sallyport_queue_depth", "Requests that wait for a worker, by model.", ["model"], queued("count")));
  stack.use(
    observe("sallyport_queue_oldest_seconds", "Age of the oldest of them, by model.", ["model"], queued("oldest")),
  );
  const turns = () =>
    dispatcher.counts().map(({ model, stage, count }) => ({ labels: { model, stage }, value: count }));
  const turnsHelp = "Of this gateway: waits for its turn at the model, sent and not begun, or begun.";
  stack.use(observe("sallyport_turns", turnsHelp, ["model", "stage"], turns));
  stack.use(observeValue("sallyport_calls_in_flight", "Chats and moderations being served.", () => inFlight.count));
  stack.use(observeValue("sallyport_calls_limit", "As many as are served at once.", () => inFlight.max));
  return stack;
}
