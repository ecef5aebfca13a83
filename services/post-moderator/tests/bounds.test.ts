/** Door 2 and a worker that does not keep to its bounds: on the real bus, with the real policy. */
import { create } from "@bufbuild/protobuf";
import { WindowMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reviewWindow } from "../src/handlers/review-window.ts";
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

  test.each([
    { requestId: "", gatewayId: "gw-0" },
    { requestId: "a".repeat(200), gatewayId: "gw-0" },
    { requestId: "r1", gatewayId: "" },
    { requestId: "r1", gatewayId: "*" },
  ])("a window that names no request or gateway is its sender's fault, and is not tried again", async (names) => {
    const meta = { subject: subjects.window("r1"), timestampMs: 0 };
    const review = reviewWindow(door2.context, create(WindowMessageSchema, names), meta);
    await expect(review).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "WINDOW_INVALID" });
  });
});
