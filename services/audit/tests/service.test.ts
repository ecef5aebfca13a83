/** The whole service, started from its environment, called as auditors and neighbours call it. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  AuditEventSchema,
  AuditService,
  BodyKind,
  type GetRecordRequestSchema,
  ReceiptService,
  VaultService,
} from "@sallyport/proto/sallyport/audit/v1/audit";
import { createClient, createLogger, parseAddress } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { leafHash, openCheckpoint, parseEntryBundle, verifyConsistency, verifyProof } from "@sallyport/tlog";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "../src/config.ts";
import { fromConfig } from "../src/context.ts";
import { startService } from "../src/service.ts";
import { gatewayEvent, heldEvent, subjectOf } from "./events.ts";
import { type AuditPlatform, logOrigin, testPlatform } from "./platform.ts";
import { wrapForVault } from "./service-parts.ts";

const log = createLogger("audit", "error");
const deadlineMs = 5_000;
const prompt = Buffer.from("the prompt's bytes");
const output = Buffer.from("the output's bytes");
let platform: AuditPlatform;
let service: AsyncDisposable;
let trust: Parameters<typeof openCheckpoint>[1];

beforeAll(async () => {
  platform = await testPlatform();
  trust = { origin: logOrigin, keys: [platform.logKey] };
  service = await start();
  const gateway = await platform.nats.bus("gateway", log);
  const held = await heldEvent({ sequence: 1 }, { prompt, output }, (secret, id) =>
    wrapForVault(secret, platform.vaultKey, id),
  );
  const actor = { tenant: "acme", subject: "ann" };
  const others = [
    gatewayEvent({ sequence: 2, terminal: true }, { actor }),
    gatewayEvent({ sequence: 3, requestId: "r2", terminal: true }, { actor: { ...actor, tenant: "other" } }),
    // A reviewer of the platform's staff, about another tenant's request.
    gatewayEvent({ sequence: 4, requestId: "r3" }, { tenant: "other", actor }),
  ];
  for (const event of [held, ...others]) {
    await gateway.publish("AUDIT", subjectOf(event), AuditEventSchema, event, { msgId: `m${event.sequence}` });
  }
  await gateway[Symbol.asyncDispose]();
  await waitFor("readiness", async () => (await health("readyz")).ok);
  await waitFor("the receipt", () => receipt("r1").catch(() => undefined));
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await platform.close();
});

describe("auditors", () => {
  it("read records with proofs, the checkpoint, and how it grew", async () => {
    const { record, proof } = await auditor((client, options) =>
      client.getRecord({ key: { case: "requestId", value: "r1" } }, options),
    );
    expect(verifyProof(proof, leafHash(record!.json), trust).index).toBe(Number(record!.index));
    const { checkpoint } = await auditor((client, options) => client.getCheckpoint({}, options));
    const head = openCheckpoint(checkpoint, trust);
    const { hashes } = await auditor((client, options) =>
      client.getConsistencyProof({ oldSize: 1n, newSize: BigInt(head.size) }, options),
    );
    const first = await auditor((client, options) => client.getRecord({ key: { case: "index", value: 0n } }, options));
    verifyConsistency(1, head.size, leafHash(first.record!.json), head.root, hashes);
  });

  it("follow the log from its start", async () => {
    const events = await auditor(async (client, options) => {
      const seen: string[] = [];
      for await (const { record } of client.tailRecords({}, options)) {
        seen.push(JSON.parse(Buffer.from(record!.json).toString()).event);
      }
      return seen;
    });
    expect(events.slice(0, 3)).toEqual(["log.started", "request.held", "request.released"]);
  });

  it.each([
    ["without a token", undefined, "UNAUTHENTICATED"],
    ["with a token that has run out", () => platform.token("sallyport-auditors", -600), "UNAUTHENTICATED"],
    ["with a user's token", () => platform.token("sallyport-users"), "PERMISSION_DENIED"],
    ["with an operator's token", () => platform.token("sallyport-operators"), "PERMISSION_DENIED"],
  ])("%s read nothing", async (_what, token, code) => {
    const client = publicClient();
    const options = { deadlineMs, ...(token && { bearer: token() }) };
    const refused = { code };
    await expect(client.getRecord({ key: { case: "index", value: 0n } }, options)).rejects.toMatchObject(refused);
    const tail = client.tailRecords({}, options)[Symbol.asyncIterator]();
    await expect(tail.next()).rejects.toMatchObject(refused);
    const status = (await files("tile/entries/000.p/1", token?.())).status;
    expect(status).toBe(code === "UNAUTHENTICATED" ? 401 : 403);
    client.close();
  });

  it("of one tenant read that tenant's records, with proofs, and no other's, by whatever key", async () => {
    const indices = async (tenant: string, request: object = {}) => {
      const found: number[] = [];
      await auditor(
        async (client, options) => {
          for await (const { record } of client.tailRecords(request, options)) found.push(Number(record!.index));
        },
        platform.token("sallyport-auditors", 600, tenant),
      );
      return found;
    };
    const all = await auditor(async (client, options) => {
      const found: { index: number; json: string; leafHash: string }[] = [];
      for await (const { record } of client.tailRecords({}, options))
        found.push({ ...record!, index: Number(record!.index), json: Buffer.from(record!.json).toString() });
      return found;
    });
    const theirs = all.filter(({ json }) => json.includes('"tenant":"other"'));
    expect(theirs).toHaveLength(2);
    expect(await indices("other")).toEqual(theirs.map(({ index }) => index));
    expect(await indices("other", { last: 1 })).toEqual([theirs.at(-1)!.index]);
    expect(await indices("other", { eventTypes: ["request.held"] })).toEqual([]);
    expect(await indices("nobodys")).toEqual([]);
    const [own] = await indices("acme");
    const get = (tenant: string, key: MessageInitShape<typeof GetRecordRequestSchema>["key"]) =>
      auditor(
        (client, options) => client.getRecord({ key }, options),
        platform.token("sallyport-auditors", 600, tenant),
      );
    const { record, proof } = await get("acme", { case: "index", value: BigInt(own!) });
    verifyProof(proof, leafHash(record!.json), trust);
    const gone = { code: "NOT_FOUND", reason: "RECORD_NOT_FOUND" };
    const { index, leafHash: leaf } = theirs[0]!;
    await expect(get("acme", { case: "index", value: BigInt(index) })).rejects.toMatchObject(gone);
    await expect(get("acme", { case: "leafHash", value: leaf })).rejects.toMatchObject(gone);
    await expect(get("acme", { case: "requestId", value: "r2" })).rejects.toMatchObject(gone);
    expect((await files("tile/entries/000.p/1", platform.token("sallyport-auditors", 600, "acme"))).status).toBe(403);
    expect(await indices("acme")).not.toContain(0);
  });

  it("whom a switch names read nothing, and others go on", async () => {
    const get = (token: string) =>
      auditor((client, options) => client.getRecord({ key: { case: "index", value: 0n } }, options), token);
    const [named, other] = [platform.token("sallyport-auditors"), platform.token("sallyport-auditors", 600, "acme")];
    const target = { scope: "identity", tenant: "acme", issuer: platform.issuer, subject: "a-sallyport-auditors" };
    const tenant = { scope: "tenant", tenant: "acme" };
    await platform.switchOff(2, { id: "1", kind: "pause", target: tenant }, { id: "2", kind: "ban", target });
    await waitFor("the ban", () =>
      get(named).then(
        () => false,
        (error) => error.reason === "BANNED",
      ),
    );
    expect((await files("tile/entries/000.p/1", named)).status).toBe(403);
    await platform.switchOff(3, { id: "1", kind: "pause", target: tenant });
    await waitFor("its end", () =>
      get(named).then(
        () => true,
        () => false,
      ),
    );
    await expect(get(other)).rejects.toMatchObject({ reason: "RECORD_NOT_FOUND" });
    await platform.switchOff(4);
  });

  it("read the log as files with their own tools", async () => {
    const { size } = openCheckpoint(await (await files("checkpoint")).text(), trust);
    const bundle = await files(`tile/entries/000.p/${size}`, platform.token("sallyport-auditors"));
    const tile = await (await files(`tile/0/000.p/${size}`)).bytes();
    const leaves = parseEntryBundle(await bundle.bytes(), size).map(leafHash);
    expect(Buffer.concat(leaves)).toEqual(Buffer.from(tile));
  });
});

describe("neighbours", () => {
  it("the gateway gets receipts, and nobody else does", async () => {
    const { record, proof } = await receipt("r1");
    verifyProof(proof, leafHash(record), trust);
    await expect(receipt("r1", "governance")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(receipt("r1", "inference-worker")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(receipt("nobody")).rejects.toMatchObject({ code: "NOT_FOUND", reason: "RECEIPT_PENDING" });
  });

  it("governance opens bodies under a lease, and nobody else does", async () => {
    expect(Buffer.from((await openBody("governance", BodyKind.PROMPT)).body)).toEqual(prompt);
    expect(Buffer.from((await openBody("governance", BodyKind.OUTPUT)).body)).toEqual(output);
    await expect(openBody("gateway", BodyKind.PROMPT)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const opened = await auditor(async (client, options) => {
      const seen: unknown[] = [];
      const request = { eventTypes: ["vault.opened"] };
      for await (const { record } of client.tailRecords(request, options)) {
        seen.push(JSON.parse(Buffer.from(record!.json).toString()).detail.kind);
      }
      return seen;
    });
    expect(opened).toEqual(["prompt", "output"]);
  });

  it("cannot reach receipts or the vault where auditors call, nor the log where neighbours do", async () => {
    const { env } = platform;
    const tls = await platform.ca.tls("gateway");
    const wrong = createClient(ReceiptService, { address: parseAddress(env.GRPC_ADDRESS), tls });
    await expect(wrong.getReceipt({ requestId: "r1" }, { deadlineMs })).rejects.toThrow();
    wrong.close();
  });
});

describe("the service", () => {
  it("started again goes on with its log", async () => {
    const before = openCheckpoint(await (await files("checkpoint")).text(), trust);
    await service[Symbol.asyncDispose]();
    service = await start();
    const after = openCheckpoint(await (await files("checkpoint")).text(), trust);
    expect(after.size).toBe(before.size + 1);
  });

  it("counts what it has logged", async () => {
    const { size } = openCheckpoint(await (await files("checkpoint")).text(), trust);
    const shown = async () => (await (await health("metrics")).text()).includes(`\nsallyport_log_size ${size}\n`);
    await waitFor("the log's size among the metrics", shown);
  });

  it("does not start with a key that the trust bundle does not appoint", async () => {
    const config = { ...readConfig(platform.env), logOrigin: "other.local/log" };
    const started = fromConfig(config, new AbortController().signal, { log });
    await expect(started).rejects.toMatchObject({ reason: "LOG_KEY_NOT_TRUSTED" });
  });

  it("reports every fault of its configuration at once", () => {
    const { LOG_ORIGIN: _, ...env } = platform.env;
    const read = () => readConfig({ ...env, NATS_URL: "ftp://x" });
    expect(read).toThrow("LOG_ORIGIN");
    expect(read).toThrow("NATS_URL");
  });
});

async function start(): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const running = await startService(await fromConfig(readConfig(platform.env), stop.signal, { log }), stop.signal);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running[Symbol.asyncDispose]();
    },
  };
}

function publicClient() {
  const tls = { ca: Buffer.from(platform.ca.pki.ca) };
  return createClient(AuditService, { address: parseAddress(platform.env.GRPC_ADDRESS), tls, serverName: "audit" });
}

async function auditor<T>(
  call: (client: ReturnType<typeof publicClient>, options: { deadlineMs: number; bearer: string }) => Promise<T>,
  bearer = platform.token("sallyport-auditors"),
): Promise<T> {
  const client = publicClient();
  try {
    return await call(client, { deadlineMs, bearer });
  } finally {
    client.close();
  }
}

async function receipt(requestId: string, caller = "gateway") {
  const address = parseAddress(platform.env.INTERNAL_GRPC_ADDRESS);
  const client = createClient(ReceiptService, { address, tls: await platform.ca.tls(caller), serverName: "audit" });
  return client.getReceipt({ requestId }, { deadlineMs }).finally(() => client.close());
}

async function openBody(caller: string, kind: BodyKind) {
  const address = parseAddress(platform.env.INTERNAL_GRPC_ADDRESS);
  const client = createClient(VaultService, { address, tls: await platform.ca.tls(caller), serverName: "audit" });
  const lease = { reviewer: "reviewer-1", leaseId: "lease-1", leaseExpiresAt: timestampFromMs(Date.now() + 60_000) };
  return client.openBody({ requestId: "r1", kind, ...lease }, { deadlineMs }).finally(() => client.close());
}

function files(path: string, token?: string): Promise<Response> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return fetch(`http://${platform.env.HTTP_ADDRESS}/${path}`, { headers });
}

function health(path: string): Promise<Response> {
  return fetch(`http://${platform.env.HEALTH_ADDRESS}/${path}`);
}
