import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import {
  type ChatResponseSchema,
  GenerationService,
  RequestState,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, createLogger, type GrpcServer, type Handlers, serve, startHealth } from "@sallyport/runtime";
import { createTestPki } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { makeHome, proofOf, record, sallyport } from "./kit.ts";

/** The command against real gRPC servers over TLS, whose handlers are scripted here. */
const pki = await createTestPki();
const log = createLogger("gateway", "error");
const records = [record("r-0"), record("r-1"), record("r-2")];
type Events = MessageInitShape<typeof ChatResponseSchema>["event"][];

let events: Events;
let seen: { bearer?: string; prompt?: string; model?: string };
let state: RequestState;
let pendingReceipts: number;
const servers: AsyncDisposable[] = [];
let home: string;

const generation: Handlers<typeof GenerationService> = {
  chat: async function* ({ content }, { bearer }) {
    seen = { bearer, model: content?.model, prompt: content?.messages.at(-1)?.content };
    for (const event of events) {
      yield { event };
      // As the gateway does: the outcome, then the error that ends the call.
      if (event?.case === "outcome" && event.value.state !== RequestState.RELEASED) throw endOf(event.value.code ?? "");
    }
  },
  getRequest: async ({ requestId }) => ({
    outcome: { requestId, state, code: "CODE_X", findings: [{ code: "WEAPONS", category: "violence", score: 0.9 }] },
    ...(state === RequestState.RELEASED && { output: [{ text: "one " }, { text: "two" }], ticket: Buffer.from("{}") }),
  }),
  cancelRequest: async ({ requestId }) => {
    state = RequestState.CANCELLED;
    return { outcome: { requestId, state } };
  },
  getReceipt: async ({ requestId }) => {
    pendingReceipts -= 1;
    if (pendingReceipts >= 0) throw new AppError("NOT_FOUND", "not yet", { reason: "RECEIPT_PENDING" });
    return {
      record: records[requestId === "r-other" ? 2 : 1],
      proof: proofOf(records, requestId === "r-other" ? 2 : 1),
    };
  },
  listModels: async () => ({ models: [{ name: "pilot", version: "1", digest: "d" }] }),
  moderateTexts: async () => ({}),
};
const endOf = (code: string) => {
  const ends = {
    [RequestState.BLOCKED]: "BLOCKED",
    [RequestState.HELD]: "HELD",
    [RequestState.CANCELLED]: "CANCELLED",
  } as const;
  const details = { requestId: "r-1", ...(state !== RequestState.HELD && { leafHash: "ab" }) };
  return new AppError(ends[state as keyof typeof ends] ?? "UNAVAILABLE", "it ended", { reason: code, details });
};
const audit: Handlers<typeof AuditService> = {
  getRecord: async ({ key }, { bearer }) => {
    if (bearer !== "token-of-auditor") throw new AppError("PERMISSION_DENIED", "auditors only", { reason: "NO_ROLE" });
    const index = key.case === "index" ? Number(key.value) : 1;
    return { record: { index: BigInt(index), json: records[index] }, proof: proofOf(records, 1) };
  },
  tailRecords: async function* ({ last }) {
    for (const [i, json] of records.entries())
      if (i >= records.length - last) yield { record: { index: BigInt(i), json } };
  },
  getCheckpoint: async () => ({}),
  getConsistencyProof: async () => ({}),
};

beforeAll(async () => {
  const address = { host: "127.0.0.1", port: 0 };
  const gateway: GrpcServer = await serve([{ service: GenerationService, handlers: generation }], {
    address,
    tls: await pki.issue("gateway"),
    log,
  });
  const auditServer = await serve([{ service: AuditService, handlers: audit }], {
    address,
    tls: await pki.issue("audit"),
    log,
  });
  const health = await startHealth(address, { ready: () => ({ ready: true, checks: { bus: "ok" } }) });
  const sick = await startHealth(address, { ready: () => ({ ready: false, checks: { bus: "away", db: "ok" } }) });
  servers.push(gateway, auditServer, health, sick);
  const at = (server: { address: { port: number } }) => `127.0.0.1:${server.address.port}`;
  home = makeHome({
    gatewayGrpc: at(gateway),
    auditGrpc: at(auditServer),
    // Not governance: the certificate on that port is another service's.
    governanceGrpc: at(gateway),
    health: { gateway: `http://${at(health)}`, audit: `http://${at(sick)}`, nobody: "http://127.0.0.1:1" },
  });
  writeFileSync(join(home, "ca.crt"), pki.ca);
});
afterAll(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
beforeEach(() => {
  [events, seen, state, pendingReceipts] = [[], {}, RequestState.RELEASED, 0];
});

const window = (index: number, text: string): Events[number] => ({
  case: "window",
  value: { index, content: toBinary(WindowContentSchema, create(WindowContentSchema, { text })) },
});
const outcome = (ended: RequestState, code = ""): Events[number] => ({
  case: "outcome",
  value: { requestId: "r-1", state: ended, code },
});

test("chat: released text on stdout alone, the outcome on stderr, the caller's token sent", async () => {
  events = [
    { case: "accepted", value: { requestId: "r-1" } },
    window(0, "Hello "),
    window(1, "there."),
    outcome(RequestState.RELEASED),
  ];
  const ran = await sallyport(home, "chat", "--no-verify", "hi");
  expect(ran).toMatchObject({ exitCode: 0, out: "Hello there." });
  expect(ran.err).toContain("not verified");
  expect(ran.err).toContain("request r-1: released");
  expect(seen).toEqual({ bearer: "token-of-user", model: "pilot", prompt: "hi" });
  await sallyport(home, "chat", "--no-verify", "--as", "operator", "--model", "m", "-");
  expect(seen).toEqual({ bearer: "token-of-operator", model: "m", prompt: "from standard input" });
});

test.each([
  [RequestState.BLOCKED, 3],
  [RequestState.HELD, 4],
  [RequestState.FAILED, 1],
  [RequestState.CANCELLED, 1],
])("chat and request get tell how a request ended by their exit code: state %i is %i", async (ended, exitCode) => {
  events = [outcome(ended, "CODE_X")];
  state = ended;
  const ran = await sallyport(home, "chat", "hi");
  expect(ran).toMatchObject({ exitCode, out: "" });
  expect(ran.err).toContain("CODE_X");
  expect(ran.err).toContain("WEAPONS");
  expect((await sallyport(home, "request", "get", "--no-verify", "r-1")).exitCode).toBe(exitCode);
});

test("chat: a stream that ends without an outcome is a failure", async () => {
  events = [window(0, "half")];
  expect(await sallyport(home, "chat", "--no-verify", "hi")).toMatchObject({ exitCode: 6, out: "half" });
});

test("chat: control characters of a model do not reach the terminal, JSON carries them escaped", async () => {
  events = [window(0, "a\u001b]0;x\u0007b\u202ec\n\td"), outcome(RequestState.RELEASED)];
  expect((await sallyport(home, "chat", "--no-verify", "hi")).out).toBe("a�]0;x�b�c\n\td");
  const lines = (await sallyport(home, "--json", "chat", "--no-verify", "hi")).out.trim().split("\n");
  expect(JSON.parse(lines[0]!)).toMatchObject({ event: "window", text: "a\u001b]0;x\u0007b\u202ec\n\td" });
  expect(lines[0]).not.toContain("\u001b");
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ event: "outcome", state: "released", verified: false });
});

test("a window without a ticket is not shown, nor an output whose ticket is none: exit code 7", async () => {
  events = [{ case: "accepted", value: { requestId: "r-1" } }, window(0, "forged"), outcome(RequestState.RELEASED)];
  expect(await sallyport(home, "chat", "hi")).toMatchObject({ exitCode: 7, out: "" });
  expect(await sallyport(home, "request", "get", "r-1")).toMatchObject({ exitCode: 7, out: "" });
});

test("request get prints the output and keeps the ticket for its owner alone", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "sallyport-")), "ticket.json");
  expect(await sallyport(home, "request", "get", "--no-verify", "r-1", "--ticket", file)).toMatchObject({
    exitCode: 0,
    out: "one two\n",
  });
  expect(readFileSync(file, "utf8")).toBe("{}");
  expect(statSync(file).mode & 0o077).toBe(0);
});

test("receipt waits until the record is logged, verifies it, and keeps what audit verify takes", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "sallyport-")), "receipt.json");
  pendingReceipts = 2;
  const ran = await sallyport(home, "receipt", "r-1", "--out", file);
  expect(ran.exitCode).toBe(0);
  expect(ran.out).toContain("verified: record 1");
  expect((await sallyport(home, "audit", "verify", file)).exitCode).toBe(0);
});

test("a receipt of another request is not accepted, nor kept", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "sallyport-")), "receipt.json");
  expect(await sallyport(home, "receipt", "r-other", "--out", file)).toMatchObject({ exitCode: 7, out: "" });
  expect(existsSync(file)).toBe(false);
});

test("audit get, prove and tail ask as the auditor; a proof of another record is exit code 7", async () => {
  expect((await sallyport(home, "audit", "get", "0")).out).toContain('"id": "r-0"');
  expect((await sallyport(home, "audit", "get", "0", "--as", "user")).exitCode).toBe(5);
  expect((await sallyport(home, "audit", "prove", "1")).exitCode).toBe(0);
  expect((await sallyport(home, "audit", "prove", "2")).exitCode).toBe(7);
  const tail = await sallyport(home, "audit", "tail", "--last", "2", "--json");
  expect(
    tail.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).index),
  ).toEqual([1, 2]);
});

test("a server with another service's certificate gets no token", async () => {
  const { exitCode, err } = await sallyport(home, "model", "list");
  expect(exitCode).toBe(6);
  // It says where nobody answered: the caller has the address from its own home.
  expect(err).toMatch(/governance at 127\.0\.0\.1:\d+ cannot be reached/);
});

test("status shows who is not ready and why, and is exit code 6", async () => {
  const { exitCode, out } = await sallyport(home, "status");
  expect(exitCode).toBe(6);
  expect(out).toMatch(/gateway +ready +\d+\.\d+\.\d+ +\d+ MiB\n/);
  expect(out).toMatch(/audit +not ready .*bus: away\n/);
  expect(out).toMatch(/nobody +unreachable/);
});
