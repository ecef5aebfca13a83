import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { cached, counter, gauge, histogram, metricsText, observe, observeValue } from "../src/index.ts";

const lines = async (name: string) => (await metricsText()).split("\n").filter((line) => line.startsWith(name));

test("a counter, a gauge and a histogram are defined in one line, and again by another module without harm", async () => {
  for (const module of ["one", "another"]) {
    counter("sallyport_test_things_total", "Things.", ["module"]).inc({ module });
    histogram("sallyport_test_seconds", "Durations.", [], [0.1, 1]).observe({}, 0.5);
  }
  gauge("sallyport_test_level", "A level.").set({}, 7);
  expect(await lines("sallyport_test_things_total")).toEqual([
    'sallyport_test_things_total{module="one"} 1',
    'sallyport_test_things_total{module="another"} 1',
  ]);
  expect(await lines("sallyport_test_seconds_bucket")).toContain('sallyport_test_seconds_bucket{le="1"} 2');
  expect(await lines("sallyport_test_level")).toEqual(["sallyport_test_level 7"]);
});

test("labels stay a closed set: text of a caller and endless values count as other", async () => {
  const refused = counter("sallyport_test_refused_total", "Refused.", ["reason", "model"]);
  refused.inc({ reason: "A prompt, with spaces", model: "pilot-text" });
  for (let at = 0; at < 2_000; at += 1) refused.inc({ reason: `R${at}`, model: "pilot-text" });
  const shown = await lines("sallyport_test_refused_total");
  expect(shown.length).toBeLessThan(310);
  expect(shown.join("\n")).not.toContain("prompt");
  const total = shown.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  expect(total).toBe(2_001);
});

test("what is read at a scrape is left out when it fails or is late, and when its owner is gone", async () => {
  using _sound = observe("sallyport_test_read", "Read.", ["part"], () => [{ labels: { part: "sound" }, value: 1 }]);
  using _broken = observe("sallyport_test_read", "Read.", ["part"], () => Promise.reject(new Error("away")));
  const slow = observeValue("sallyport_test_slow", "Slow.", () => sleep(5_000).then(() => 1));
  const startedAt = performance.now();
  expect(await lines("sallyport_test_read")).toEqual(['sallyport_test_read{part="sound"} 1']);
  expect(await lines("sallyport_test_slow")).toEqual([]);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  slow[Symbol.dispose]();
  const own = observeValue("sallyport_test_own", "Own.", () => 3);
  expect(await lines("sallyport_test_own")).toEqual(["sallyport_test_own 3"]);
  own[Symbol.dispose]();
  expect(await lines("sallyport_test_own")).toEqual([]);
});

test("two scrapes at once both show what was read", async () => {
  using _slow = observe("sallyport_test_shared", "Shared.", ["part"], async () => {
    await sleep(20);
    return [{ labels: { part: "one" }, value: 1 }];
  });
  const scrapes = Array.from({ length: 20 }, async (_, at) => {
    await sleep(at * 3);
    return lines("sallyport_test_shared");
  });
  for (const shown of await Promise.all(scrapes)) expect(shown).toEqual(['sallyport_test_shared{part="one"} 1']);
});

test("however often it is scraped, the database is asked once in the time", async () => {
  let asked = 0;
  const read = cached(60_000, async () => ++asked);
  expect(await Promise.all([read(), read(), read()])).toEqual([1, 1, 1]);
});
