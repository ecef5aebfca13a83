/** Door 2 gives no word on what is switched off. */
import { stoppedBySwitch } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Door2, type Platform, startPlatform } from "./fixtures/platform.ts";
import { beginRun, say, verdictsOf, windowVerdicts } from "./fixtures/requests.ts";

let platform: Platform;
let door2: Door2;
beforeAll(async () => {
  platform = await startPlatform();
  door2 = await platform.startDoor2();
}, 60_000);
afterEach(async () => {
  await platform.switchOff([]);
  await waitFor("everything on again", () => !door2.context.switches.find(about));
});
afterAll(async () => {
  await door2?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

const about = { tenant: "acme", subject: "ann", issuer: "", credential: "", model: "pilot" };
const pause = (target: object) => [{ id: "1", kind: "pause", target }];

test("a run that is switched off between two windows ends, and its second window gets no verdict", async () => {
  const run = await beginRun(platform);
  await say(platform, run, "One sentence. ");
  await windowVerdicts(platform, run, 1);
  await platform.switchOff(pause({ scope: "model", model: "pilot" }));
  await waitFor("the pause", () => door2.context.switches.find(about));
  await say(platform, run, "Another one. ", true);
  const failed = await waitFor("its end", async () => {
    const bodies = (await verdictsOf(platform, run)).map(({ body }) => body);
    return bodies.find((body) => body.case === "failed");
  });
  expect(failed.value).toMatchObject({ code: stoppedBySwitch, retryable: true });
  expect(await windowVerdicts(platform, run, 1)).toHaveLength(1);
});

test("a first window that comes with the start of what is switched off gets no verdict", async () => {
  await platform.switchOff(pause({ scope: "model", model: "pilot" }));
  await waitFor("the pause", () => door2.context.switches.find(about));
  const run = await beginRun(platform, { first: { text: "All there is.", final: true } });
  const bodies = await waitFor("its end", async () => {
    const verdicts = await verdictsOf(platform, run);
    return verdicts.length > 0 && verdicts.map(({ body }) => body);
  });
  expect(bodies).toMatchObject([{ case: "failed", value: { code: stoppedBySwitch, retryable: true } }]);
});
