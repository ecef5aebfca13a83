import { ConfirmMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { expect, test } from "vitest";
import { type OutboxMessage, type OutboxRow, toRows } from "../src/db/outbox-messages.ts";

const trace = (digit: string, span: string) => `00-${digit.repeat(32)}-${span.repeat(16)}-01`;
const row = (own: string | undefined, operation: string): OutboxRow[] => {
  const context = { producer: "gateway" as const, epoch: "e", first: 1, time: "", traceparent: operation };
  const bus = { stream: "JOBS", subject: "s", msgId: "m", schema: ConfirmMessageSchema, message: {}, confirm: false };
  const record = { audit: { event: "request.failed", build: () => ({ record: new Uint8Array() }) } };
  return toRows(
    [
      { ...bus, traceparent: own },
      { ...record, traceparent: own },
    ] as OutboxMessage[],
    context,
  );
};
const of = (own: string | undefined, operation: string) => row(own, operation).map(({ traceparent }) => traceparent);

test("a message carries the trace of the operation that commits it", () => {
  expect(of(undefined, trace("a", "1"))).toEqual([trace("a", "1"), trace("a", "1")]);
  expect(of(undefined, "")).toEqual(["", ""]);
});

test("what belongs to a request carries the request's trace, whoever moves it on", () => {
  expect(of(trace("b", "2"), trace("a", "1"))).toEqual([trace("b", "2"), trace("b", "2")]);
  expect(of(trace("b", "2"), "")).toEqual([trace("b", "2"), trace("b", "2")]);
});

test("within the request's trace it hangs from the operation, not from the call that began it all", () => {
  expect(of(trace("a", "2"), trace("a", "1"))).toEqual([trace("a", "1"), trace("a", "1")]);
});
