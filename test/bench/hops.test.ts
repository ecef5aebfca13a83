import { expect, test } from "vitest";
import type { CollectedSpan } from "../kit/collector.ts";
import { hopsOf } from "./hops.ts";

const span = (traceId: string, service: string, name: string, startMs: number, tookMs: number): CollectedSpan => ({
  ...{ service, traceId, spanId: "1", parentSpanId: service === "gateway" ? "" : "2", name, kind: 1 },
  ...{ start: BigInt(startMs) * 1_000_000n, end: BigInt(startMs + tookMs) * 1_000_000n, attributes: {}, failed: false },
});

test("hops are medians over the traces of requests, in the order in which they begin", () => {
  const trace = (id: string, at: number, took: number) => [
    span(id, "post-moderator", "judge", at + 5, took),
    span(id, "gateway", "chat", at, 20),
    span(id, "gateway", "commit", at + 2, 1),
    span(id, "gateway", "commit", at + 9, 3),
  ];
  const rare = span("a", "audit", "rare", 1_001, 9);
  const noRequest = span("d", "audit", "append", 500, 50);
  const spans = [...trace("a", 1_000, 2), ...trace("b", 2_000, 4), ...trace("c", 3_000, 100), rare, noRequest];
  const hop = (service: string, name: string, beginsMs: number, tookMs: number) => ({
    service,
    name,
    beginsMs,
    tookMs,
    share: 1,
  });
  expect(hopsOf(spans)).toEqual([
    hop("gateway", "chat", 0, 20),
    hop("gateway", "commit", 2, 1),
    hop("post-moderator", "judge", 5, 4),
    hop("gateway", "commit (2)", 9, 3),
  ]);
});
