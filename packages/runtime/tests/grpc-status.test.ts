/** What a call's failure says to those whom it is passed on to. */
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { type ServiceError, status } from "@grpc/grpc-js";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { describe, expect, test } from "vitest";
import { encodeStatus } from "../src/grpc/status.ts";
import { AppError, createClient, decodeStatus } from "../src/index.ts";
import { pki } from "./grpc-kit.ts";

const names = /127\.0\.0\.1|:\d|ECONN|localhost|certificate|connect|resolve/i;

describe("a neighbour that cannot be called leaves its host, port and certificate to the log", () => {
  const failing = async (port: number): Promise<AppError> => {
    const client = createClient(GenerationService, { address: { host: "127.0.0.1", port }, tls: { ca: pki.ca } });
    const error = await client.getRequest({}, { deadlineMs: 3_000 }).catch((caught: unknown) => caught);
    client.close();
    return error as AppError;
  };

  test("nobody listens", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as AddressInfo;
    await new Promise((resolve) => taken.close(resolve));
    const error = await failing(port);
    expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "UNAVAILABLE" });
    expect(error.message).not.toMatch(names);
    expect(String((error.cause as Error).message)).toContain(String(port));
  });

  test("what listens does not speak TLS", async () => {
    const plain = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => plain.once("listening", resolve));
    const error = await failing((plain.address() as AddressInfo).port);
    await new Promise((resolve) => plain.close(resolve));
    expect(["UNAVAILABLE", "DEADLINE_EXCEEDED"]).toContain(error.code);
    expect(error.message).not.toMatch(names);
  });
});

test("no text that comes without our ErrorInfo is passed on, whatever its status", () => {
  for (const code of Object.values(status).filter((value) => typeof value === "number")) {
    const foreign = Object.assign(new Error("x"), { code, details: "No connection established to 10.0.0.7:5432" });
    const error = decodeStatus(foreign as unknown as ServiceError);
    expect(error.message.length).toBeGreaterThan(8);
    expect(error.message).not.toContain("10.0.0.7");
  }
});

test("when to try again travels with the status, where there is such a time", () => {
  const sent = (retryAfterMs?: number) => {
    const error = new AppError("RESOURCE_EXHAUSTED", "later", { reason: "RATE_LIMITED", retryAfterMs });
    return decodeStatus(encodeStatus(error) as unknown as ServiceError);
  };
  expect(sent(12_500)).toMatchObject({ reason: "RATE_LIMITED", message: "later", retryAfterMs: 12_500 });
  expect(sent().retryAfterMs).toBeUndefined();
});
