/** What waits for a person, and what failed for good. */
import { cached, counter, type Db, observe } from "@sallyport/runtime";

const deadLetters = counter("sallyport_dead_letters_total", "Messages that failed for good, by stream and reason.", [
  "stream",
  "reason",
]);

export function countDeadLetter(stream: string, reason: string): void {
  deadLetters.inc({ stream, reason });
}

const askEveryMs = 5_000;

interface WaitingRow {
  stage: string;
  count: number;
  oldest: number;
  second: number;
}

export function observeReviews({ db }: { db: Db }): Disposable {
  const sql = `SELECT stage, count(*)::float AS count, count(*) FILTER (WHERE state = 'second_review')::float AS second,
      extract(epoch FROM now() - min(held_at))::float AS oldest
    FROM items WHERE state IN ('open', 'second_review') GROUP BY stage`;
  const ask = cached(askEveryMs, async () => (await db.query<WaitingRow>(sql)).rows);
  const read = (value: (row: WaitingRow) => number) => async () => {
    const rows = await ask();
    const nothing = { count: 0, oldest: 0, second: 0 };
    return ["door1", "door2"].map((stage) => ({
      labels: { stage },
      value: value(rows.find((row) => row.stage === stage) ?? { stage, ...nothing }),
    }));
  };
  const stack = new DisposableStack();
  const per = (name: string, help: string, value: (row: WaitingRow) => number) =>
    stack.use(observe(name, help, ["stage"], read(value)));
  per("sallyport_held_items", "Held requests that wait for a person.", ({ count }) => count);
  per("sallyport_held_second_review", "Of them, those that wait for a second person.", ({ second }) => second);
  per("sallyport_held_oldest_seconds", "Age of the oldest of them.", ({ oldest }) => oldest);
  return stack;
}
