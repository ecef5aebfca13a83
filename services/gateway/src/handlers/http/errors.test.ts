import { AppError, switchError, toGrpcStatus } from "@sallyport/runtime";
import { expect, test } from "vitest";
import type { RequestRow } from "../../db/ledger.ts";
import { errorOf } from "../../domain/views.ts";
import { toHttpError } from "./errors.ts";

test.each([
  ["PAUSED", 503, 14, "api_error", { "x-should-retry": "false" }],
  ["BANNED", 403, 7, "permission_error", {}],
  ["CREDENTIAL_REVOKED", 401, 16, "authentication_error", {}],
] as const)(
  "a switch refuses as %s: its own status over HTTP and gRPC, and no call to try again",
  (code, http, grpc, type, headers) => {
    const error = switchError(code);
    const { status, headers: sent, body } = toHttpError(error);
    expect({ status, sent, type: body.error.type, code: body.error.code }).toEqual({
      status: http,
      sent: headers,
      type,
      code: code.toLowerCase(),
    });
    expect(toGrpcStatus(error)).toMatchObject({ code: grpc, reason: code });
  },
);

test("a request that was cancelled for a switch is told as the switch would be, with its id", () => {
  const row = { id: "r1", state: "cancelled", code: "PAUSED", message: "", leafHash: "ab" } as RequestRow;
  const error = errorOf(row)!;
  expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "PAUSED", details: { requestId: "r1", leafHash: "ab" } });
  expect(errorOf({ ...row, code: "CANCELLED" })).toMatchObject({ code: "CANCELLED", reason: "CANCELLED" });
});

test("other refusals for now say when to come back", () => {
  expect(toHttpError(new AppError("UNAVAILABLE", "", { reason: "STATE_STALE" })).headers).toEqual({
    "retry-after": "1",
  });
});
