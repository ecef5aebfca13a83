import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ChatRequest,
  type ChatWindow,
  type ClientOptions,
  createClient,
  type SallyportClient,
  SallyportError,
  VerificationError,
} from "@sallyport/client";
import { type Window, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ReviewDecision } from "@sallyport/proto/sallyport/governance/v1/review";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bootPlatform,
  brake,
  decide,
  grpcClients,
  grpcMiddle,
  httpMiddle,
  type Middle,
  model,
  type Person,
  type Tampering,
  type TestPlatform,
} from "../kit/index.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const story: ChatRequest = {
  model,
  messages: [{ role: "user", content: "Tell me a long story about the sea." }],
  temperature: 0,
  maxTokens: 120,
};
const ways = ["grpc", "http"] as const;
type Way = (typeof ways)[number];

let sallyport: TestPlatform;
let middles: Record<Way, Middle>;
const clients: SallyportClient[] = [];

beforeAll(async () => {
  sallyport = await bootPlatform("client");
  middles = { grpc: await grpcMiddle(sallyport.platform), http: await httpMiddle(sallyport.platform) };
}, 180_000);
afterAll(async () => {
  for (const client of clients) client.close();
  for (const middle of Object.values(middles ?? {})) await middle[Symbol.asyncDispose]();
  await sallyport?.[Symbol.asyncDispose]();
}, 60_000);

function connect(address: string, more: Partial<ClientOptions> & { person?: Person } = {}): SallyportClient {
  const { ca, trustBundle, trustRoot } = sallyport.platform.endpoints;
  const { person = "user", ...options } = more;
  const token = () => sallyport.token(person);
  const client = createClient({ address, token, tls: { ca }, verify: { trustBundle, trustRoot }, ...options });
  clients.push(client);
  return client;
}

function direct(way: Way, more?: Parameters<typeof connect>[1]): SallyportClient {
  const { gatewayGrpc, gatewayHttp } = sallyport.platform.endpoints;
  return connect(way === "grpc" ? gatewayGrpc : gatewayHttp, more);
}

async function failure(work: Promise<unknown>): Promise<SallyportError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SallyportError);
  return error as SallyportError;
}

describe.each(ways)("over %s", (way) => {
  test("an output comes window by window, each verified, and its receipt is over this very output", async () => {
    const client = direct(way);
    const stream = client.stream(story);
    const windows: ChatWindow[] = [];
    for await (const window of stream) windows.push(window);
    const result = await stream.result();
    expect(windows.length).toBeGreaterThan(1);
    expect(windows.map(({ text }) => text).join("")).toBe(result.text);
    expect(result.requestId).toBe(stream.requestId);
    expect(result.usage.completionTokens).toBeGreaterThan(3);
    expect(result.proof).toMatchObject({ attempt: 1, requestSanitised: false });
    const { record, leafHash } = await client.receipt(result);
    expect(leafHash).toBe(result.leafHash);
    expect(record).toMatchObject({ event: "request.released", digests: { output: result.proof!.outputDigest } });
    expect(await client.getRequest(result.requestId)).toMatchObject({ state: "released", text: result.text });
  });

  test("what door 1 removed from a request it signed as removed from just this one", async () => {
    const secret = `AKIA${"ABCDEFGHIJKLMNOP"}`;
    const messages = [{ role: "user" as const, content: `What is Sallyport? ${secret}` }];
    const { proof } = await direct(way).chat({ ...story, messages });
    expect(proof).toMatchObject({ requestSanitised: true });
  });

  test("whole; again with the same key it is the same request, and not run twice", async () => {
    const client = direct(way);
    const idempotencyKey = `whole-${way}`;
    const once = await client.chat(story, { idempotencyKey });
    const again = await client.chat(story, { idempotencyKey });
    expect(again).toEqual(once);
    const other = await failure(client.chat({ ...story, maxTokens: 5 }, { idempotencyKey }));
    expect(other).toMatchObject({ code: "ALREADY_EXISTS", reason: "IDEMPOTENCY_KEY_REUSED", retryable: false });
  });

  test("what a person released after a hold verifies by review and countersignature", async () => {
    const client = direct(way);
    const held = { ...story, messages: [{ role: "user" as const, content: `SALLYPORT-REVIEW-ME ${way}` }] };
    const options = { idempotencyKey: `held-${way}` };
    const error = await failure(client.chat(held, options));
    expect(error).toMatchObject({ code: "HELD", retryable: false });
    using reviewers = grpcClients(sallyport.platform);
    await decide(sallyport, reviewers, error.requestId!, ReviewDecision.ALLOW);
    const released = await client.chat(held, options);
    expect(released.requestId).toBe(error.requestId);
    expect(await client.getRequest(released.requestId)).toMatchObject({ text: released.text });
    expect((await client.receipt(released)).record).toMatchObject({ request: { id: error.requestId } });
  });

  test("models, moderations and cancelling", async () => {
    const client = direct(way);
    expect(await client.listModels()).toMatchObject([{ name: model, digest: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    const { results } = await client.moderate(["Good morning.", "SALLYPORT-BLOCK-ME"]);
    expect(results).toMatchObject([
      { decision: "allow", flagged: false },
      { decision: "deny", flagged: true },
    ]);
    const { requestId } = await client.chat(story);
    expect(await client.cancel(requestId)).toMatchObject({ requestId, state: "released" });
  });

  test("who leaves a stream ends its request", async () => {
    const client = direct(way);
    const release = brake(sallyport.platform.service("inference-worker").pid!);
    const stream = client.stream({ ...story, maxTokens: 400 });
    for await (const _ of stream) break;
    release();
    const ended = async () => (await client.getRequest(stream.requestId!)).state === "cancelled";
    await waitFor("the request to be cancelled", ended);
    expect(await failure(stream.result())).toMatchObject({ code: "CANCELLED" });
  });

  test("a timeout and an abort end a call with their own codes", async () => {
    const client = direct(way);
    expect(await failure(client.chat(story, { timeoutMs: 1 }))).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await failure(client.chat(story, { signal: AbortSignal.abort() }))).toMatchObject({ code: "CANCELLED" });
  });
});

describe("errors are the same over both transports", () => {
  const blocked = { ...story, messages: [{ role: "user" as const, content: "SALLYPORT-BLOCK-ME" }] };
  test.each<[string, (client: SallyportClient) => Promise<unknown>, Parameters<typeof connect>[1]?]>([
    ["blocked", (client) => client.chat(blocked)],
    ["an unknown model", (client) => client.chat({ ...story, model: "nobody" })],
    ["a wrong parameter", (client) => client.chat({ ...story, temperature: 9 })],
    ["no messages", (client) => client.chat({ ...story, messages: [] })],
    ["a bad token", (client) => client.listModels(), { token: "not-a-token" }],
    ["another's request", (client) => client.getRequest("01234567-89ab-7cde-8f01-23456789abcd")],
    ["no role", (client) => client.chat(story), { person: "auditor" }],
    ["nobody there", (client) => client.listModels(), { address: "nowhere" } as never],
  ])("%s", async (name, ask, more) => {
    const nowhere = { grpc: "127.0.0.1:1", http: "http://127.0.0.1:1/v1" };
    const told = async (way: Way) => {
      const away = name === "nobody there";
      const client = away ? connect(nowhere[way], { maxRetries: 0 }) : direct(way, more);
      const { code, reason, message, field, retryable, retryAfterMs, whatToDo } = await failure(ask(client));
      return { code, reason, message, field, retryable, retryAfterMs, whatToDo };
    };
    const [grpc, http] = [await told("grpc"), await told("http")];
    expect(http).toEqual(grpc);
    expect(grpc.whatToDo).not.toBe("");
  });
});

describe.each(ways)("somebody in the middle of %s with the gateway's certificate", (way) => {
  const rewritten = (window: Window, text: string): Window => {
    const content = fromBinary(WindowContentSchema, window.content);
    return { ...window, content: toBinary(WindowContentSchema, create(WindowContentSchema, { ...content, text })) };
  };
  const mapped = (change: (window: Window, position: number) => Window | undefined): Tampering["windows"] =>
    async function* (windows) {
      let position = 0;
      for await (const window of windows) {
        const changed = change(window, position++);
        if (changed) yield changed;
      }
    };
  const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte));

  /** What the gateway had sent until then: the output of another call may be cut elsewhere. */
  interface Heard {
    text: string;
    error: SallyportError;
    genuine: string[];
  }

  async function heard({ windows: change, ...more }: Tampering): Promise<Heard> {
    const genuine: string[] = [];
    const noted = async function* (windows: AsyncIterable<Window>) {
      for await (const window of windows) {
        genuine.push(fromBinary(WindowContentSchema, window.content).text);
        yield window;
      }
    };
    middles[way].tampering = { ...more, windows: (windows) => change!(noted(windows)) };
    const stream = connect(middles[way].address).stream(story);
    let text = "";
    const error = await failure(
      (async () => {
        for await (const window of stream) text += window.text;
      })(),
    );
    expect(genuine.join("").startsWith(text)).toBe(true);
    expect(await failure(stream.result())).toBe(error);
    return { text, error, genuine };
  }

  test("passes on what is genuine", async () => {
    middles[way].tampering = {};
    const result = await connect(middles[way].address).chat(story);
    expect(result.proof).toBeDefined();
  });

  test.each<[string, Tampering["windows"], string]>([
    ["changes a word", mapped((w, i) => (i === 1 ? rewritten(w, " not this ") : w)), "SUBJECT_MISMATCH"],
    ["changes the first window", mapped((w, i) => (i === 0 ? rewritten(w, "forged") : w)), "SUBJECT_MISMATCH"],
    ["drops a window", mapped((w, i) => (i === 1 ? undefined : w)), "OUT_OF_ORDER"],
    [
      "drops a window and counts on",
      mapped((w, i) => (i === 1 ? undefined : { ...w, index: Math.max(0, i - 1) })),
      "CHAIN_BROKEN",
    ],
    ["sends a window twice", mapped((w, i) => (i === 1 ? { ...w, index: 0 } : w)), "OUT_OF_ORDER"],
    ["leaves out a ticket", mapped((w, i) => (i === 1 ? { ...w, ticket: undefined } : w)), "TRUNCATED"],
    ["leaves out the chain", mapped((w) => ({ ...w, chain: undefined })), "TRUNCATED"],
    [
      "changes the salt",
      mapped((w) => (w.chain ? { ...w, chain: { ...w.chain, salt: flip(w.chain.salt) } } : w)),
      "REQUEST_MISMATCH",
    ],
    [
      "puts the claim in the door's place",
      mapped((w) => (w.chain ? { ...w, chain: { ...w.chain, admission: [w.chain.claim!] } } : w)),
      "STAGE_UNEXPECTED",
    ],
    [
      "names another tenant",
      mapped((w) => (w.chain ? { ...w, chain: { ...w.chain, tenant: "other" } } : w)),
      "TENANT_MISMATCH",
    ],
    [
      "breaks a signature",
      mapped((w, i) =>
        i === 1
          ? {
              ...w,
              ticket: { ...w.ticket!, signatures: w.ticket!.signatures.map((s) => ({ ...s, sig: flip(s.sig) })) },
            }
          : w,
      ),
      "BAD_SIGNATURE",
    ],
    [
      "keeps the end back",
      async function* (windows) {
        yield* (await Array.fromAsync(windows)).slice(0, -1);
      },
      "TRUNCATED",
    ],
  ])("%s: refused, and nothing after it is given", async (_, windows, reason) => {
    let { error, genuine } = await heard({ windows });
    // A model that said little this time leaves nothing to drop a part from.
    if (genuine.length < 3 && error.reason === "TRUNCATED") ({ error, genuine } = await heard({ windows }));
    expect(error).toBeInstanceOf(VerificationError);
    expect(error).toMatchObject({ code: "UNVERIFIED", reason, retryable: false });
  });

  test("answers with the genuine output of another question: refused", async () => {
    const other: Window[] = [];
    middles[way].tampering = {
      windows: async function* (windows) {
        for await (const window of windows) other.push(window);
        yield* other;
      },
    };
    const client = connect(middles[way].address);
    const { requestId } = await client.chat({ ...story, messages: [{ role: "user", content: "What is bread?" }] });
    const { text, error } = await heard({
      requestId,
      windows: async function* () {
        yield* other;
      },
    });
    expect(text).toBe("");
    expect(error).toMatchObject({ code: "UNVERIFIED", reason: "REQUEST_MISMATCH" });
  });

  test("alters what is fetched later, or a receipt: refused", async () => {
    const client = connect(middles[way].address);
    middles[way].tampering = {};
    const result = await client.chat(story);
    const another = await client.chat(story);
    middles[way].tampering = { request: (r) => ({ ...r, output: r.output.map((o) => ({ ...o, text: "forged" })) }) };
    expect(await failure(client.getRequest(result.requestId))).toMatchObject({ reason: "SUBJECT_MISMATCH" });
    middles[way].tampering = {
      request: (r) => ({
        ...r,
        ticket: Buffer.from(Buffer.from(r.ticket).toString().replace('"attempt": 1', '"attempt": 2')),
      }),
    };
    expect(await failure(client.getRequest(result.requestId))).toMatchObject({ code: "UNVERIFIED" });
    middles[way].tampering = {};
    const { receipt } = await client.receipt(another);
    middles[way].tampering = { receipt: () => receipt };
    expect(await failure(client.receipt(result))).toMatchObject({ code: "UNVERIFIED", reason: "PROOF" });
    const swapped = (record: Uint8Array) =>
      Buffer.from(Buffer.from(record).toString().replace("request.released", "request.cancelled"));
    middles[way].tampering = { receipt: ({ record, proof }) => ({ record: swapped(record), proof }) };
    expect(await failure(client.receipt(result.requestId))).toMatchObject({ code: "UNVERIFIED", reason: "PROOF" });
  });
});

test("verification off is said, and then nothing is verified", async () => {
  middles.grpc.tampering = {
    windows: async function* (windows) {
      for await (const window of windows) yield { ...window, chain: undefined, ticket: undefined };
    },
  };
  const result = await connect(middles.grpc.address, { verify: "off" }).chat(story);
  expect(result.proof).toBeUndefined();
  expect(() => connect(middles.grpc.address, { verify: undefined })).toThrow(/trustBundle and trustRoot, or "off"/);
});

test("the README's lines work as they stand there", async () => {
  const [code] =
    readFileSync(join(repository, "README.md"), "utf8").match(/(?<=```ts\n)[^`]*@sallyport\/client[\s\S]*?(?=```)/) ??
    [];
  const folder = mkdtempSync(join(tmpdir(), "sallyport-readme-"));
  try {
    mkdirSync(join(folder, "src"));
    symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"));
    symlinkSync(sallyport.platform.home.root, join(folder, ".sallyport"));
    const file = join(folder, "readme.ts");
    writeFileSync(file, code!);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", file],
      {
        cwd: folder,
        timeout: 60_000,
      },
    );
    expect(stdout).toMatch(/\w+ \w+[\s\S]*\nrecord \d+ of \d+ in sallyport\.local\/log\n$/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the example answers, verifies and keeps the receipt", async () => {
  const example = join(repository, "packages/client/examples/chat.ts");
  const { home } = sallyport.platform;
  const run = promisify(execFile)(process.execPath, [example, "What is Sallyport?"], {
    env: { ...process.env, SALLYPORT_HOME: home.root },
    timeout: 60_000,
  });
  const { stdout, stderr } = await run;
  expect(stdout).toMatch(/\w+ \w+/);
  expect(stderr).toMatch(/verified: record \d+ of \d+/);
});
