/** Door 2 and a worker that does not keep to its bounds: on the real bus, with the real policy. */
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Door2, type Platform, startPlatform } from "./fixtures/platform.ts";
import { beginRun, say, verdictsOf, windowVerdicts } from "./fixtures/requests.ts";

let platform: Platform;
let door2: Door2;
beforeAll(async () => {
  platform = await startPlatform();
  door2 = await platform.startDoor2();
});
afterAll(async () => {
  await door2?.[Symbol.asyncDispose]();
  await platform?.[Symbol.asyncDispose]();
});

describe("what a worker may not do", () => {
  test("an output beyond all bounds ends its run, and what was released before stays all there is", async () => {
    const run = await beginRun(platform);
    await say(platform, run, "Once. ");
    await windowVerdicts(platform, run, 1);
    const long = "word ".repeat(60 * 1_024);
    await say(platform, run, long);
    await say(platform, run, "More.", true);
    const failed = await waitFor("the end", async () =>
      (await verdictsOf(platform, run)).find(({ body }) => body.case === "failed"),
    );
    expect(failed.body).toMatchObject({ value: { code: "OUTPUT_TOO_LARGE", retryable: false } });
    const control = await beginRun(platform);
    await say(platform, control, "Text.", true);
    await windowVerdicts(platform, control, 1);
    expect(await windowVerdicts(platform, run, 1)).toHaveLength(1);
  });

  test("windows of a request on another request's subject are not read", async () => {
    const run = await beginRun(platform);
    const other = await beginRun(platform);
    await say(platform, run, "Astray.", true, subjects.window(other.job.requestId));
    await say(platform, other, "Text.", true);
    await windowVerdicts(platform, other, 1);
    expect((await verdictsOf(platform, run)).map(({ body }) => body.case)).toEqual(["started"]);
  });
});
