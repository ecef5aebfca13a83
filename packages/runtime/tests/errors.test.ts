import { expect, test } from "vitest";
import {
  AppError,
  asAppError,
  backoff,
  createIds,
  createLogger,
  errorCodes,
  formatTraceparent,
  newTrace,
  notAuthorised,
  parseTraceparent,
  systemIds,
  toAckAction,
  toGrpcStatus,
  toHttpStatus,
} from "../src/index.ts";

test("every code has a gRPC status, an HTTP status of 400 or more and an acknowledgement", () => {
  for (const code of errorCodes) {
    const error = new AppError(code, "m");
    expect(toGrpcStatus(error)).toMatchObject({ message: "m", reason: code, details: { code } });
    expect(toGrpcStatus(error).code).toBeGreaterThan(0);
    expect(toHttpStatus(error)).toBeGreaterThanOrEqual(400);
    expect(["ack", "nak", "term"]).toContain(toAckAction(error));
  }
});

test("what may pass by itself is tried again, what cannot is terminated, what is done is acknowledged", () => {
  for (const code of ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL"] as const) {
    expect(toAckAction(new AppError(code, ""))).toBe("nak");
  }
  for (const code of ["INVALID_ARGUMENT", "PERMISSION_DENIED", "BLOCKED"] as const) {
    expect(toAckAction(new AppError(code, ""))).toBe("term");
  }
  expect(toAckAction(new AppError("ALREADY_EXISTS", ""))).toBe("ack");
  expect(toAckAction(new Error("?"))).toBe("nak");
});

test("what policy does not let a caller do is one error, with policy's own reason", () => {
  expect(toGrpcStatus(notAuthorised("chat", "NO_ROLE"))).toMatchObject({
    ...{ code: 7, reason: "NOT_AUTHORISED", details: { action: "chat", why: "NO_ROLE" } },
    message: "your groups do not allow chat here (NO_ROLE); ask your administrator for the role",
  });
});

test("foreign errors get a code, and their message stays inside", () => {
  const refused = Object.assign(new Error("connect ECONNREFUSED 10.0.0.7:5432"), { code: "ECONNREFUSED" });
  const sql = Object.assign(new Error('terminating "db1"'), { code: "57P01" });
  const forged = Object.assign(new Error("envelope"), { name: "TicketError", code: "BAD_SIGNATURE" });
  expect(asAppError(refused).code).toBe("UNAVAILABLE");
  expect(asAppError(sql).code).toBe("UNAVAILABLE");
  expect(asAppError(forged)).toMatchObject({ code: "PERMISSION_DENIED", reason: "BAD_SIGNATURE" });
  expect(asAppError(AbortSignal.timeout(0).reason ?? new DOMException("", "TimeoutError")).code).toBe(
    "DEADLINE_EXCEEDED",
  );
  expect(asAppError(new DOMException("", "AbortError")).code).toBe("CANCELLED");
  for (const thrown of [refused, sql, new Error("table users"), "text", undefined, null, { message: "x" }]) {
    const error = asAppError(thrown);
    expect(error.message).not.toMatch(/10\.0|db1|users/);
    expect(error.cause).toBe(thrown);
  }
});

test("a log line names service, level and time, keeps causes, and drops what is secret by name", () => {
  const lines: string[] = [];
  const log = createLogger("audit", "info", { write: (line) => void lines.push(line) });
  log.debug("not shown");
  const cause = Object.assign(new Error("inner"), { query: "SELECT secret-row" });
  const request = { authorization: "Bearer abc", salt: "s", prompt: "p" };
  log.info(
    { requestId: "r", token: "abc", request, err: new AppError("INTERNAL", "outer", { cause }) },
    "hello\nworld",
  );
  expect(lines).toHaveLength(1);
  const line = JSON.parse(lines[0]!);
  expect(line).toMatchObject({ level: "info", service: "audit", msg: "hello\nworld", requestId: "r" });
  expect(line.time).toMatch(/^\d{4}-.*\.\d{3}Z$/);
  expect(line.err).toMatchObject({ code: "INTERNAL", message: "outer", cause: { message: "inner" } });
  for (const secret of ["abc", "secret-row", '"s"', '"p"']) expect(lines[0]).not.toContain(secret);
});

test("ids are UUIDs of version 7 that sort by time and repeat only with their inputs", () => {
  expect(systemIds.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  let ms = 1_700_000_000_000;
  const ids = createIds({ now: () => new Date(ms) }, (count) => new Uint8Array(count).fill(255));
  const first = ids.uuid();
  expect(first).toBe("018bcfe5-6800-7fff-bfff-ffffffffffff");
  expect(ids.uuid()).toBe(first);
  ms += 1;
  expect(ids.uuid() > first).toBe(true);
});

test("backoff doubles to its bound", () => {
  const at = (attempt: number, random: number) => backoff(attempt, { baseMs: 100, maxMs: 1_000, random: () => random });
  expect([1, 2, 3, 4, 5, 90].map((attempt) => at(attempt, 1))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  expect(at(3, 0)).toBe(200);
});

test("trace context: what is well formed survives, anything else starts a new trace", () => {
  const header = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
  const parent = parseTraceparent(header);
  expect(formatTraceparent(parent!)).toBe(header);
  const child = newTrace(systemIds, parent);
  expect(child.traceId).toBe(parent!.traceId);
  expect(child.spanId).not.toBe(parent!.spanId);
  expect(parseTraceparent(formatTraceparent(newTrace(systemIds)))).toBeDefined();
  expect(parseTraceparent(`01-${"ab".repeat(16)}-${"cd".repeat(8)}-01-future`)).toBeDefined();
  for (const bad of [
    undefined,
    "",
    header.toUpperCase(),
    `${header}-x`,
    `ff${header.slice(2)}`,
    `00-${"0".repeat(32)}-${"cd".repeat(8)}-01`,
    `00-${"ab".repeat(16)}-${"0".repeat(16)}-01`,
    `${header}\r\nx: y`,
  ]) {
    expect(parseTraceparent(bad)).toBeUndefined();
  }
});
