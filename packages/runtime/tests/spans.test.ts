import { afterEach, describe, expect, test } from "vitest";
import {
  AppError,
  createLogger,
  currentTraceparent,
  describeSpan,
  noteRequest,
  outOfScope,
  parseTraceparent,
  type SpanRecord,
  setSampling,
  withSpan,
} from "../src/index.ts";
import { recordSpans } from "../src/telemetry/recorder.ts";

const requestId = "0190a000-0000-7000-8000-000000000001";
const caller = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
const sampled = parseTraceparent(caller)!;

let stop = () => {};
function record(): SpanRecord[] {
  const spans: SpanRecord[] = [];
  stop = recordSpans((span) => spans.push(span));
  setSampling(1);
  return spans;
}
afterEach(() => {
  stop();
  setSampling(0);
});

describe("with nobody who records", () => {
  test("a trace is passed on as it came, or begun, and not recorded", async () => {
    expect(await withSpan("x", { parent: sampled }, () => currentTraceparent())).toBe(caller);
    const begun = await withSpan("x", { edge: true }, () => withSpan("y", {}, () => currentTraceparent()));
    expect(parseTraceparent(begun)).toMatchObject({ sampled: false });
    expect(await withSpan("x", { edge: true, parent: sampled }, () => currentTraceparent())).toBe(
      caller.replace(/01$/, "00"),
    );
  });
});

describe("with a recorder", () => {
  test("spans nest across awaits, and one trace holds them all", async () => {
    const spans = record();
    await withSpan("outer", { edge: true, parent: sampled }, async () => {
      await Promise.all([withSpan("left", {}, async () => {}), withSpan("right", { kind: "client" }, async () => {})]);
    });
    const [left, right, outer] = spans as [SpanRecord, SpanRecord, SpanRecord];
    expect(outer).toMatchObject({ name: "outer", traceId: sampled.traceId, parentSpanId: sampled.spanId });
    for (const inner of [left, right])
      expect(inner).toMatchObject({ traceId: outer.traceId, parentSpanId: outer.spanId });
  });

  test("a caller does not decide whether a trace is recorded; a neighbour does", async () => {
    const spans = record();
    setSampling(0);
    await withSpan("theirs", { edge: true, parent: sampled }, async () => {});
    expect(spans).toEqual([]);
    setSampling(1);
    await withSpan("background", {}, async () => {});
    await withSpan("not sampled", { parent: { ...sampled, sampled: false } }, async () => {});
    expect(spans).toEqual([]);
    await withSpan("root", { edge: true }, async () => {});
    expect(spans).toMatchObject([{ name: "root", parentSpanId: undefined }]);
  });

  test("a failure is noted by its reason; no message, no text and no unknown key gets in", async () => {
    const spans = record();
    const attributes = {
      "gen_ai.request.model": "a prompt with SALLYPORT-BLOCK-ME in it",
      "sallyport.code": "SALLYPORT-BLOCK-ME",
      "gen_ai.prompt": "SALLYPORT-BLOCK-ME",
      "sallyport.attempt": Number.NaN,
    } as object;
    const failing = withSpan("SALLYPORT-BLOCK-ME?\n", { edge: true, attributes }, () => {
      describeSpan({ "sallyport.attempt": 2, ...attributes });
      throw new AppError("UNAVAILABLE", "SALLYPORT-BLOCK-ME", { reason: "BUS_UNAVAILABLE" });
    });
    await expect(failing).rejects.toThrow(AppError);
    expect(spans).toMatchObject([{ failed: true, attributes: { "error.type": "BUS_UNAVAILABLE" } }]);
    expect(JSON.stringify(spans)).not.toContain("SALLYPORT-BLOCK-ME");
  });
});

test("a refusal is no fault of the one who refuses, but of the call it is", async () => {
  const spans = record();
  const refuse = () => {
    throw new AppError("BLOCKED", "no", { reason: "POLICY_DENY" });
  };
  await withSpan("judge", { kind: "server", edge: true }, refuse).catch(() => {});
  await withSpan("ask", { kind: "client", edge: true }, refuse).catch(() => {});
  expect(spans.map(({ failed }) => failed)).toEqual([false, true]);
  expect(spans.map(({ attributes }) => attributes["error.type"])).toEqual(["POLICY_DENY", "POLICY_DENY"]);
});

describe("every line of the log about a request says which", () => {
  const lines: string[] = [];
  const log = createLogger("test", "info", { write: (line: string) => void lines.push(line) });

  test("also after awaits, in code that was not handed it, and never in another's", async () => {
    await withSpan("call", { parent: sampled }, async () => {
      log.info("before");
      noteRequest(requestId);
      await withSpan("inner", {}, async () => log.info("inside"));
      outOfScope(() => log.info("a loop for everybody"));
      log.info("after");
    });
    log.info("elsewhere");
    const seen = lines.map((line) => JSON.parse(line) as { msg: string; requestId?: string; traceId?: string });
    const { traceId } = sampled;
    expect(seen).toMatchObject([
      { msg: "before", traceId },
      { msg: "inside", requestId, traceId },
      { msg: "a loop for everybody" },
      { msg: "after", requestId, traceId },
      { msg: "elsewhere" },
    ]);
    expect(seen[2]).not.toHaveProperty("traceId");
    expect(seen[4]).not.toHaveProperty("requestId");
  });

  test("a request found out in an inner span is known to the outer one too", async () => {
    lines.length = 0;
    await withSpan("call", { parent: sampled }, async () => {
      await withSpan("inner", {}, async () => noteRequest(requestId));
      log.info("after");
    });
    expect(JSON.parse(lines[0]!)).toMatchObject({ requestId });
  });

  test("what has a secret's name is cut out, wherever the line came from", async () => {
    lines.length = 0;
    await withSpan("call", { parent: sampled }, async () =>
      log.info({ prompt: "SALLYPORT-BLOCK-ME", job: { token: "SALLYPORT-BLOCK-ME" }, requestId }, "seen"),
    );
    expect(lines[0]).not.toContain("SALLYPORT-BLOCK-ME");
    expect(lines[0]!.match(/"requestId"/g)).toHaveLength(1);
  });
});
