import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  GetConsistencyProofRequestSchema,
  type GetRecordRequest,
  GetRecordRequestSchema,
  TailRecordsRequestSchema,
} from "@sallyport/proto/sallyport/audit/v1/audit";
import { leafHash, openCheckpoint, verifyConsistency, verifyProof } from "@sallyport/tlog";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getCheckpoint, getConsistencyProof, getReceipt, getRecord, tailRecords } from "../src/handlers/records.ts";
import { gatewayEvent } from "./events.ts";
import { type ServiceParts, serviceParts } from "./service-parts.ts";

let parts: ServiceParts;
// Index 0 is log.started; then 300 requests of two events each.
beforeAll(async () => {
  parts = await serviceParts();
  const events = Array.from({ length: 600 }, (_, i) =>
    gatewayEvent({
      sequence: i + 1,
      requestId: `r${i >> 1}`,
      event: i % 2 === 0 ? "request.accepted" : "request.released",
      terminal: i % 2 === 1,
    }),
  );
  await Promise.all(events.map((event) => parts.deliver(event)));
});
afterAll(() => parts.close());

describe("GetRecord", () => {
  it.each<[string, GetRecordRequest["key"], number]>([
    ["its index", { case: "index", value: 7n }, 7],
    ["its request, whose terminal record it is", { case: "requestId", value: "r3" }, 8],
  ])("finds a record by %s, with a proof that verifies", async (_what, key, index) => {
    const { record, proof } = await getRecord(parts, create(GetRecordRequestSchema, { key }), undefined);
    expect(record.index).toBe(BigInt(index));
    expect(verifyProof(proof, leafHash(record.json!), parts.trust).index).toBe(index);
    const byLeaf = create(GetRecordRequestSchema, { key: { case: "leafHash", value: record.leafHash! } });
    expect((await getRecord(parts, byLeaf, undefined)).record).toEqual(record);
  });

  it.each<[string, GetRecordRequest["key"], string]>([
    ["beyond the end", { case: "index", value: 601n }, "NOT_FOUND"],
    ["of no request", { case: "requestId", value: "nobody" }, "NOT_FOUND"],
    ["with no key", { case: undefined }, "INVALID_ARGUMENT"],
    ["with an index that no log reaches", { case: "index", value: 2n ** 63n }, "INVALID_ARGUMENT"],
    ["with a malformed hash", { case: "leafHash", value: "AB" }, "INVALID_ARGUMENT"],
    ["with a malformed request", { case: "requestId", value: "'; --" }, "INVALID_ARGUMENT"],
  ])("%s is an error", async (_what, key, code) => {
    await expect(getRecord(parts, create(GetRecordRequestSchema, { key }), undefined)).rejects.toMatchObject({ code });
  });
});

describe("GetReceipt", () => {
  it("is the proof of the terminal record, and not found before that is logged", async () => {
    const { record, proof } = await getReceipt(parts, "r5");
    expect(verifyProof(proof, leafHash(record), parts.trust).index).toBe(12);
    await parts.deliver(gatewayEvent({ sequence: 601, requestId: "open", event: "request.accepted" }));
    await expect(getReceipt(parts, "open")).rejects.toMatchObject({ code: "NOT_FOUND", reason: "RECEIPT_PENDING" });
  });
});

describe("GetConsistencyProof", () => {
  it("connects an old checkpoint to the new one", async () => {
    const old = openCheckpoint((await getCheckpoint(parts)).checkpoint, parts.trust);
    await parts.deliver(gatewayEvent({ sequence: 602 }));
    const now = openCheckpoint((await getCheckpoint(parts)).checkpoint, parts.trust);
    const { hashes } = await getConsistencyProof(parts, sizes(old.size, now.size));
    verifyConsistency(old.size, now.size, old.root, now.root, hashes);
  });

  it("between sizes that cannot be is an error", async () => {
    await expect(getConsistencyProof(parts, sizes(2, 1))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(getConsistencyProof(parts, sizes(1, 10_000))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("TailRecords", () => {
  it("from an index gives every record from there on, once", async () => {
    expect(await indices({ fromIndex: 250n })).toEqual(range(250, await size()));
  });

  it("of the last few gives those", async () => {
    expect(await indices({ last: 3 })).toEqual(range((await size()) - 3, await size()));
    expect(await indices({ last: 100_000 })).toEqual(range(0, await size()));
  });

  it("of some event types gives those only", async () => {
    const eventTypes = ["request.accepted"];
    const all = await indices({ eventTypes });
    expect(all.slice(0, 300)).toEqual(range(0, 300).map((i) => 2 * i + 1));
    expect(await indices({ eventTypes, last: 2 })).toEqual(all.slice(-2));
    expect(await indices({ eventTypes: ["no.such"], last: 2 })).toEqual([]);
  });

  it("followed gives what is logged later, and ends with its caller", async () => {
    const caller = new AbortController();
    const from = await size();
    const stream = tail({ fromIndex: BigInt(from), follow: true }, caller.signal);
    const next = stream.next();
    await parts.deliver(gatewayEvent({ sequence: 700 }));
    expect((await next).value?.record.index).toBe(BigInt(from));
    const waiting = stream.next();
    caller.abort();
    await expect(waiting).rejects.toThrow();
  });

  it("ends when the caller may no longer read", async () => {
    const recheck = () => Promise.reject(new Error("token expired"));
    const request = create(TailRecordsRequestSchema, { follow: true, last: 1 });
    const stream = tailRecords(parts, request, undefined, new AbortController().signal, recheck);
    await stream.next();
    await expect(stream.next()).rejects.toThrow("token expired");
  });
});

function tail(request: MessageInitShape<typeof TailRecordsRequestSchema>, signal = new AbortController().signal) {
  return tailRecords(parts, create(TailRecordsRequestSchema, request), undefined, signal, () => Promise.resolve());
}

async function indices(request: MessageInitShape<typeof TailRecordsRequestSchema>): Promise<number[]> {
  const found: number[] = [];
  for await (const { record } of tail(request)) found.push(Number(record.index));
  return found;
}

async function size(): Promise<number> {
  return (await parts.heads.read()).frontier.size;
}

function sizes(oldSize: number, newSize: number) {
  return create(GetConsistencyProofRequestSchema, { oldSize: BigInt(oldSize), newSize: BigInt(newSize) });
}

function range(from: number, end: number): number[] {
  return Array.from({ length: end - from }, (_, i) => from + i);
}
