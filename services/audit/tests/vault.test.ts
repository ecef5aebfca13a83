import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { RequestSecret } from "@sallyport/attestation";
import { BodyKind, OpenBodyRequestSchema } from "@sallyport/proto/sallyport/audit/v1/audit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { recordAt } from "../src/db/read.ts";
import { openBody } from "../src/handlers/open-body.ts";
import { heldEvent } from "./events.ts";
import { type ServiceParts, serviceParts, wrapForVault } from "./service-parts.ts";

const prompt = Buffer.from("the prompt's bytes");
const output = Buffer.from("the output's bytes");
let parts: ServiceParts;

beforeAll(async () => {
  parts = await serviceParts();
  await parts.deliver(await held(1, "r1"));
});
afterAll(() => parts.close());

describe("OpenBody", () => {
  it("gives the bytes that were judged, and the log says who read them first", async () => {
    for (const [kind, bytes] of [
      [BodyKind.PROMPT, prompt],
      [BodyKind.OUTPUT, output],
    ] as const) {
      const { body } = await open({ kind });
      expect(Buffer.from(body)).toEqual(bytes);
      expect(await lastRecord()).toMatchObject({
        event: "vault.opened",
        request: { id: "r1" },
        actor: { subject: "reviewer-1" },
        detail: { kind: kind === BodyKind.PROMPT ? "prompt" : "output", lease: "lease-1" },
      });
    }
  });

  it.each<[string, MessageInitShape<typeof OpenBodyRequestSchema>, string]>([
    ["under a lease that has run out", { leaseExpiresAt: inMs(-1) }, "FAILED_PRECONDITION"],
    ["without a lease", { leaseExpiresAt: undefined }, "FAILED_PRECONDITION"],
    ["under a lease of a day", { leaseExpiresAt: inMs(86_400_000) }, "INVALID_ARGUMENT"],
    ["without a lease's name", { leaseId: "" }, "INVALID_ARGUMENT"],
    ["by nobody", { reviewer: "" }, "INVALID_ARGUMENT"],
    ["by a name that hides itself", { reviewer: "a\u202eb" }, "INVALID_ARGUMENT"],
    ["of no kind", { kind: BodyKind.UNSPECIFIED }, "INVALID_ARGUMENT"],
    ["of another request", { requestId: "r9" }, "NOT_FOUND"],
  ])("%s opens nothing and records nothing", async (_what, over, code) => {
    const before = await parts.heads.read();
    await expect(open(over)).rejects.toMatchObject({ code });
    expect(await parts.heads.read()).toEqual(before);
  });

  it("opens nothing when the reading cannot be recorded", async () => {
    await parts.db.query("ALTER TABLE head RENAME TO head_away");
    await expect(open({})).rejects.toMatchObject({ code: "INTERNAL", reason: "NOT_LOGGED" });
    await parts.db.query("ALTER TABLE head_away RENAME TO head");
    expect((await open({})).body.length).toBe(prompt.length);
  });

  it("opens nothing after the key was erased, while the record still stands", async () => {
    await parts.deliver(await held(2, "r2"));
    await parts.db.query("DELETE FROM vault_keys WHERE request_id = 'r2'");
    await expect(open({ requestId: "r2" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "BODY_ERASED" });
    await parts.deliver(await held(2, "r2", { again: true })).catch(() => undefined);
    await expect(open({ requestId: "r2" })).rejects.toMatchObject({ reason: "BODY_ERASED" });
  });

  it("opens nothing that is not what the record says, though it decrypts", async () => {
    const event = await held(3, "r3", { output: Buffer.from("other bytes") });
    await parts.deliver(event);
    await expect(open({ requestId: "r3", kind: BodyKind.OUTPUT })).rejects.toMatchObject({ reason: "BODY_DAMAGED" });
    expect(Buffer.from((await open({ requestId: "r3" })).body)).toEqual(prompt);
  });

  it("keeps a key that does not open now, and loses no record for it", async () => {
    await parts.deliver(await held(4, "r4", { wrap: () => Promise.resolve("not a jwe") }));
    const { rows } = await parts.db.query("SELECT wrapping FROM vault_keys WHERE request_id = 'r4'");
    expect(rows).toEqual([{ wrapping: "jwe" }]);
    await expect(open({ requestId: "r4" })).rejects.toMatchObject({ reason: "BODY_DAMAGED" });
  });
});

it("the vault holds no plaintext and no key that opens without the master key", async () => {
  const { rows } = await parts.db.query<{ bytes: Buffer }>(
    "SELECT ciphertext AS bytes FROM vault_bodies UNION ALL SELECT wrapped FROM vault_keys UNION ALL SELECT json FROM records",
  );
  for (const { bytes } of rows) {
    expect(bytes.includes(prompt)).toBe(false);
    expect(bytes.includes(output)).toBe(false);
  }
});

interface HeldOptions {
  readonly again?: boolean;
  /** Sealed instead of the output that the record's digest is of. */
  readonly output?: Uint8Array;
  readonly wrap?: (secret: RequestSecret, requestId: string) => Promise<string>;
}

async function held(sequence: number, requestId: string, options: HeldOptions = {}) {
  const wrap = options.wrap ?? ((secret, id) => wrapForVault(secret, parts.vaultKey, id));
  const detail = { again: options.again ?? false };
  return heldEvent({ sequence, requestId, detail }, { prompt, output, sealedOutput: options.output ?? output }, wrap);
}

function open(over: MessageInitShape<typeof OpenBodyRequestSchema>) {
  return openBody(parts, request(over));
}

function request(over: MessageInitShape<typeof OpenBodyRequestSchema>) {
  const lease = { reviewer: "reviewer-1", leaseId: "lease-1", leaseExpiresAt: inMs(600_000) };
  return create(OpenBodyRequestSchema, { requestId: "r1", kind: BodyKind.PROMPT, ...lease, ...over });
}

function inMs(ms: number) {
  return timestampFromMs(Date.now() + ms);
}

async function lastRecord(): Promise<Record<string, unknown>> {
  const { size } = (await parts.heads.read()).frontier;
  return JSON.parse(Buffer.from((await recordAt(parts.db, size - 1))!.json).toString());
}
