import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLogger, currentScope, periodically, withSpan } from "../src/index.ts";
import { waitFor } from "../testing/index.ts";

const never = 60_000;
const lines: string[] = [];
const log = createLogger("test", "warn", { write: (line) => void lines.push(line) });

test("the first round is at once; one that is asked for while another runs comes right after it, never beside it", async () => {
  let [rounds, atOnce] = [0, 0];
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using periodic = periodically(log, never, "test", async () => {
    atOnce += 1;
    expect(atOnce).toBe(1);
    await gates[rounds++]?.promise;
    atOnce -= 1;
  });
  await waitFor("the first round", () => rounds === 1);
  periodic.hasten();
  periodic.hasten();
  gates[0]!.resolve();
  await waitFor("the second", () => rounds === 2);
  gates[1]!.resolve();
  await waitFor("its end", () => atOnce === 0);
  periodic.hasten();
  await waitFor("the third", () => rounds === 3);
});

test("a round that leaves something over asks for the next by itself", async () => {
  let left = 5;
  await using periodic = periodically(log, never, "test", async () => {
    if (--left > 0) periodic.hasten();
  });
  await waitFor("nothing left", () => left === 0);
});

test("an error is logged once until it changes or a round succeeds, and ends nothing", async () => {
  lines.length = 0;
  const outcomes = ["away", "away", "away", "refused", "", "away"];
  let rounds = 0;
  await using _ = periodically(log, 1, "ask the database", async () => {
    const problem = outcomes[rounds++];
    if (problem) throw new Error(problem);
  });
  await waitFor("all rounds", () => rounds > outcomes.length);
  const told = lines.map((line) => JSON.parse(line) as { msg: string; err: { message: string } });
  expect(told.map(({ err }) => err.message)).toEqual(["away", "refused", "away"]);
  expect(told[0]!.msg).toBe("could not ask the database; trying again");
});

test("stopping waits for the round under way and begins no other, whoever asks", async () => {
  let rounds = 0;
  const gate = Promise.withResolvers<void>();
  const periodic = periodically(log, 1, "test", async () => {
    rounds += 1;
    periodic.hasten();
    await gate.promise;
  });
  await waitFor("a round", () => rounds === 1);
  let stopped = false;
  const stopping = periodic[Symbol.asyncDispose]().then(() => {
    stopped = true;
  });
  await nextTurn();
  expect(stopped).toBe(false);
  gate.resolve();
  await stopping;
  periodic.hasten();
  await nextTurn();
  expect(rounds).toBe(1);
});

test("a round belongs to no request, not even to the one that asked for it", async () => {
  const scopes: unknown[] = [];
  await using periodic = periodically(log, never, "test", async () => void scopes.push(currentScope()));
  await waitFor("a round", () => scopes.length === 1);
  await withSpan("call", {}, async () => {
    expect(currentScope()).toBeDefined();
    periodic.hasten();
  });
  await waitFor("another", () => scopes.length === 2);
  expect(scopes).toEqual([undefined, undefined]);
});
