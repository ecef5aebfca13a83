/** The registry and the signed state, on a whole governance. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { decodeEnvelopeJson, type Json, verifyState } from "@sallyport/attestation";
import {
  type ImportModelRequestSchema,
  type ModelMetadataSchema,
  ModelState,
} from "@sallyport/proto/sallyport/governance/v1/models";
import type { Bus } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ggufFile } from "./gguf-file.ts";
import { type Platform, testPlatform } from "./platform.ts";

let platform: Platform;
let service: AsyncDisposable;
let reader: Bus;

beforeAll(async () => {
  platform = await testPlatform();
  service = await platform.start();
  reader = await platform.nats.bus("gateway", platform.log);
  await platform.isReady();
});
afterAll(async () => {
  await reader?.[Symbol.asyncDispose]();
  await service?.[Symbol.asyncDispose]();
  await platform?.close();
});

const operators = ["sallyport-operators", "sallyport-platform"];
const as = (subject: string, groups = operators) => ({
  bearer: platform.token({ subject, groups }),
  deadlineMs: 10_000,
});
const justification = "Checked the card and the licence.";
const digestOf = (file: Uint8Array) => createHash("sha256").update(file).digest("hex");
type Metadata = MessageInitShape<typeof ModelMetadataSchema>;

function* parts(
  metadata: Metadata,
  file: Uint8Array,
  chunk = 16,
): Generator<MessageInitShape<typeof ImportModelRequestSchema>> {
  yield { part: { case: "metadata", value: { ...metadata } } };
  for (let at = 0; at < file.length; at += chunk)
    yield { part: { case: "chunk", value: file.subarray(at, at + chunk) } };
}
const about = (name: string, version = "1.0.0"): Metadata => ({
  ...{ name, version, engine: "llama", licence: "Apache-2.0", tier: "small", contextTokens: 512, card: "# A model" },
});
const importAs = (subject: string, metadata: Metadata, file: Uint8Array) =>
  platform.models.importModel(parts(metadata, file), as(subject));
const approveAs = (subject: string, digest: string) =>
  platform.models.approveModel({ digest, justification }, as(subject));

/** What everybody else sees. */
async function manifest(): Promise<{ version: number; names: string[]; models: Record<string, Json>[] }> {
  const bytes = await reader.readValue("models", "manifest");
  const expected = { bucket: "models", key: "manifest", minVersion: 1, now: new Date() };
  const { version, value } = verifyState(decodeEnvelopeJson(bytes!), platform.keys.trust, expected);
  const { models } = value as { models: Record<string, Json>[] };
  return { version, models, names: models.map(({ name, version }) => `${name} ${version}`) };
}
const isFromFuture = (error: { code?: string }) => error.code === "NOT_YET_VALID";
const policyVersion = async () => {
  const bytes = await reader.readValue("policy", "active");
  if (!bytes) return 0;
  return verifyState(decodeEnvelopeJson(bytes), platform.keys.trust, {
    bucket: "policy",
    key: "active",
    minVersion: 1,
    now: new Date(),
  }).version;
};

describe("a model", () => {
  it("is in the manifest only between approval by a second person and revocation, and never again", async () => {
    const file = ggufFile({ salt: 1 });
    const digest = digestOf(file);
    const before = await manifest();
    expect(before.names).toEqual([]);
    const { model } = await importAs("ann", { ...about("tiny"), digest }, file);
    expect(model).toMatchObject({
      digest,
      state: ModelState.IMPORTED,
      importedBy: "ann",
      sizeBytes: BigInt(file.length),
    });
    const stored = join(platform.storeDir, "sha256", digest);
    expect(readFileSync(stored).equals(file)).toBe(true);
    expect(statSync(stored).mode & 0o222).toBe(0);
    expect((await manifest()).version).toBe(before.version);

    await expect(approveAs("ann", digest)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect((await approveAs("ben", digest)).model).toMatchObject({ state: ModelState.APPROVED, decidedBy: "ben" });
    const after = await manifest();
    expect(after.version).toBe(before.version + 1);
    expect(after.models).toMatchObject([
      { name: "tiny", digest, engine: "llama", tier: "small", contextTokens: 512, sizeBytes: file.length },
    ]);

    await platform.models.revokeModel({ digest, justification }, as("ann"));
    expect((await manifest()).names).toEqual([]);
    await expect(approveAs("ben", digest)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "MODEL_REVOKED",
    });
    await expect(importAs("ann", { ...about("tiny", "1.0.1"), digest }, file)).rejects.toMatchObject({
      reason: "MODEL_REVOKED",
    });
    await expect(importAs("ann", about("tiny", "1.0.1"), file)).rejects.toMatchObject({ reason: "MODEL_EXISTS" });
  });

  it("takes the place of the version before it in one step", async () => {
    const [one, two] = [ggufFile({ salt: 2 }), ggufFile({ salt: 3 })];
    for (const [version, file] of [
      ["1.0.0", one],
      ["2.0.0", two],
    ] as const) {
      await importAs("ann", about("served", version), file);
      await approveAs("ben", digestOf(file));
    }
    expect((await manifest()).names).toEqual(["served 2.0.0"]);
    const { models, manifestVersion } = await platform.models.listModels({}, as("ann"));
    const states = models.filter(({ metadata }) => metadata?.name === "served").map(({ state }) => state);
    expect(states).toEqual([ModelState.REVOKED, ModelState.APPROVED]);
    expect(manifestVersion).toBe(BigInt((await manifest()).version));
  });

  it("of engine remote is registered by its digest, without a file", async () => {
    const digest = "ab".repeat(32);
    const remote = { ...about("big"), engine: "remote", digest, remoteEndpoint: "vllm", remoteModel: "org/big-1" };
    await importAs("ann", remote, new Uint8Array());
    await approveAs("ben", digest);
    const entry = (await manifest()).models.find(({ name }) => name === "big");
    expect(entry).toMatchObject({ engine: "remote", remoteEndpoint: "vllm", remoteModel: "org/big-1", sizeBytes: 0 });
    await expect(importAs("ann", { ...remote, name: "big2", digest: "" }, new Uint8Array())).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it.each<[string, () => [Metadata, Uint8Array], string]>([
    ["that is not a GGUF", () => [about("bad"), Buffer.from("not a model")], "GGUF_INVALID"],
    [
      "with another digest than stated",
      () => [{ ...about("bad"), digest: "0".repeat(64) }, ggufFile({ salt: 9 })],
      "DIGEST_MISMATCH",
    ],
    ["with a name that is no name", () => [about("../bad"), ggufFile({ salt: 9 })], "INVALID_FIELD"],
    [
      "with more context than it was made for",
      () => [{ ...about("bad"), contextTokens: 4_096 }, ggufFile({ salt: 9 })],
      "INVALID_FIELD",
    ],
  ])("%s is refused and leaves nothing", async (_what, make, reason) => {
    const before = readdirSync(join(platform.storeDir, "sha256")).length;
    await expect(importAs("ann", ...make())).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason });
    expect(readdirSync(join(platform.storeDir, "incoming"))).toEqual([]);
    const { models } = await platform.models.listModels({}, as("ann"));
    expect(models.some(({ metadata }) => metadata?.name === "bad")).toBe(false);
    if (reason !== "INVALID_FIELD") expect(readdirSync(join(platform.storeDir, "sha256")).length).toBe(before);
  });

  it("is nobody's without a token or the role", async () => {
    const file = ggufFile({ salt: 5 });
    await expect(platform.models.importModel(parts(about("x"), file), { deadlineMs: 5_000 })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    const user = as("eve", ["sallyport-users"]);
    await expect(platform.models.importModel(parts(about("x"), file), user)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await expect(platform.models.revokeModel({ digest: "ab".repeat(32), justification }, user)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    const expired = {
      bearer: platform.token({ subject: "ann", groups: operators, lifetimeS: -120 }),
      deadlineMs: 5_000,
    };
    await expect(platform.models.listModels({}, expired)).rejects.toMatchObject({ reason: "TOKEN_EXPIRED" });
  });

  it("is decided once, however many decide at the same time", async () => {
    const file = ggufFile({ salt: 6 });
    await importAs("ann", about("raced"), file);
    const results = await Promise.allSettled(["ben", "cid", "dan", "eli"].map((who) => approveAs(who, digestOf(file))));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("signed state", () => {
  it("comes back by itself on a wiped bus, the same version", async () => {
    const [before, policy] = [await manifest(), await policyVersion()];
    await platform.nats.kill();
    platform.nats.wipe();
    await platform.nats.start();
    await platform.nats.provision();
    await waitFor("the reader", () => reader.connected);
    await waitFor(
      "both values",
      async () => (await reader.readValue("models", "manifest")) && (await policyVersion()) > 0,
      { timeoutMs: 8_000 },
    );
    expect(await manifest()).toEqual(before);
    expect(await policyVersion()).toBe(policy);
    await platform.isReady();
  });

  it("is not signed anew by a restart; a changed policy is a new version, a broken one is refused and the old one stays", async () => {
    const policy = await policyVersion();
    await service[Symbol.asyncDispose]();
    service = await platform.start();
    await platform.isReady();
    expect(await policyVersion()).toBe(policy);

    const tests = join(platform.bundleDir, "tests", "authz.json");
    const sound = readFileSync(tests, "utf8");
    const cases = JSON.parse(sound) as { cases: { expect: { allow?: boolean } }[] };
    cases.cases[0]!.expect.allow = !cases.cases[0]!.expect.allow;
    await service[Symbol.asyncDispose]();
    writeFileSync(tests, JSON.stringify(cases));
    service = await platform.start();
    await waitFor(
      "the refusal to show",
      async () => (await platform.ready()).checks.policy === "the mounted bundle is refused",
    );
    expect(await policyVersion()).toBe(policy);

    await service[Symbol.asyncDispose]();
    writeFileSync(tests, `${sound}\n`);
    service = await platform.start();
    await platform.isReady();
    expect(await policyVersion()).toBe(policy + 1);
  });

  it("that a clock signed which was ahead is signed again once that is right: nobody waits for the hour to come", async () => {
    const policy = await policyVersion();
    const tests = join(platform.bundleDir, "tests", "authz.json");
    await service[Symbol.asyncDispose]();
    writeFileSync(tests, `${readFileSync(tests, "utf8")}\n`);
    let aheadMs = 3_600_000;
    service = await platform.start({ clock: { now: () => new Date(Date.now() + aheadMs) } });
    await waitFor("a value that nobody believes", () => policyVersion().then(() => false, isFromFuture));
    aheadMs = 0;
    await waitFor("one that is believed", () =>
      policyVersion().then(
        (version) => version === policy + 2,
        () => false,
      ),
    );
    await platform.isReady();
  });

  it("of a database that was set back is not put over a newer one", async () => {
    const version = (await manifest()).version;
    const admin = await platform.postgres.admin();
    const schema = new URL(platform.env.DATABASE_URL).username;
    await admin.query(`UPDATE ${schema}.signed_state SET version = version - 1 WHERE bucket = 'models'`);
    await waitFor("the alarm", async () => (await platform.ready()).checks.state !== "ok");
    expect((await manifest()).version).toBe(version);
    await admin.query(`UPDATE ${schema}.signed_state SET version = version + 1 WHERE bucket = 'models'`);
    await admin.end();
    await platform.isReady();
  });
});
