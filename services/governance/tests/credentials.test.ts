/** API tokens and client certificates on a whole governance: what is signed, what is kept, and who may what. */
import { createHash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { decodeEnvelopeJson, verifyState } from "@sallyport/attestation";
import type {
  BindCertificateRequestSchema,
  CreateTokenRequestSchema,
} from "@sallyport/proto/sallyport/governance/v1/credentials";
import {
  apiTokenKey,
  apiTokenShardKey,
  apiTokenShards,
  type Bus,
  matchesApiToken,
  parseApiToken,
} from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditRecords } from "./audit-records.ts";
import { type Platform, testPlatform } from "./platform.ts";

let platform: Platform;
let service: AsyncDisposable;
let reader: Bus;

beforeAll(async () => {
  platform = await testPlatform();
  service = await platform.start();
  reader = await platform.nats.bus("gateway", platform.log);
  await platform.isReady();
  await platform.audit.start();
});
afterAll(async () => {
  await reader?.[Symbol.asyncDispose]();
  await service?.[Symbol.asyncDispose]();
  await platform?.close();
});

const justification = "No longer needed by anybody.";
const users = ["sallyport-users"];
const operators = ["sallyport-operators"];
const staff = [...operators, "sallyport-platform"];
const as = (subject: string, groups = users, tenant = "acme") => ({
  bearer: platform.token({ subject, groups, tenant }),
  deadlineMs: 10_000,
});
const create = (who = as("uma"), more: MessageInitShape<typeof CreateTokenRequestSchema> = {}) =>
  platform.credentials.createToken({ name: "laptop", ...more }, who);
const rotate = (id: string, who = as("uma"), keepForSeconds = 0n) =>
  platform.credentials.rotateToken({ id, keepForSeconds }, who);
const revoke = (id: string, who = as("uma")) => platform.credentials.revokeToken({ id, justification }, who);
const tokens = async (who = as("uma"), includeEnded = false) =>
  (await platform.credentials.listTokens({ includeEnded }, who)).tokens.map(({ id }) => id);
const bind = (more: MessageInitShape<typeof BindCertificateRequestSchema>, who = as("pia", staff)) =>
  platform.credentials.bindCertificate({ subject: "mail", groups: users, ...more }, who);
const spiffe = (value: string) => ({ match: { case: "spiffeId" as const, value: `spiffe://example.org/${value}` } });
const events = (id: string) => auditRecords(platform, ({ detail }) => detail?.id === id);

interface Listed {
  id: string;
  hash: string;
  [field: string]: unknown;
}

async function stored<T>(key: string): Promise<{ version: number; value: T }> {
  const bytes = await reader.readValue("credentials", key);
  const place = { bucket: "credentials", key, minVersion: 1, now: new Date() };
  const { version, value } = verifyState(decodeEnvelopeJson(bytes!), platform.keys.trust, place);
  return { version, value: value as T };
}
const shardOf = async (id: string) => (await stored<{ tokens: Listed[] }>(apiTokenKey(id))).value.tokens;
const bound = async () => (await stored<{ certificates: Listed[] }>("certificates")).value.certificates;

describe("the signed credentials", () => {
  it("are there from the first start, so that no gateway is stale for lack of a key", async () => {
    expect(await bound()).toEqual([]);
    for (let shard = 0; shard < apiTokenShards; shard += 1) {
      expect((await stored(apiTokenShardKey(shard))).value).toEqual({ tokens: [] });
    }
  });
});

describe("an API token", () => {
  it("is shown once, kept as a hash, believed until it is revoked, and never told to anybody", async () => {
    const { token, secret } = await create();
    const { id } = token!;
    expect(parseApiToken(secret)).toEqual({ id });
    const [listed] = (await shardOf(id)).filter((found) => found.id === id);
    expect(listed).toEqual({
      ...{ id, tenant: "acme", subject: "uma", issuer: platform.identity("uma").issuer, groups: users },
      hash: createHash("sha256").update(secret).digest("hex"),
      expiresAt: new Date(timestampMs(token!.expiresAt!)).toISOString(),
    });
    expect(matchesApiToken(secret, listed!.hash)).toBe(true);
    const days = (timestampMs(token!.expiresAt!) - timestampMs(token!.createdAt!)) / 86_400_000;
    expect(days).toBe(90);

    expect(await tokens()).toContain(id);
    const { token: revoked } = await revoke(id);
    expect(revoked?.revokedAt).toBeDefined();
    expect((await shardOf(id)).some((found) => found.id === id)).toBe(false);
    expect(await tokens()).not.toContain(id);
    expect(await tokens(as("uma"), true)).toContain(id);
    const { version } = await stored(apiTokenKey(id));
    expect((await revoke(id)).token?.revokedAt).toEqual(revoked?.revokedAt);
    expect((await stored(apiTokenKey(id))).version).toBe(version);

    const records = await waitFor("the log", async () => {
      const found = await events(id);
      return found.length === 2 && found;
    });
    expect(records.map(({ event }) => event)).toEqual(["credential.created", "credential.revoked"]);
    const rows = await everything();
    for (const text of [JSON.stringify(records), rows]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(secret.slice(20, 63));
    }
    expect(rows).toContain(listed!.hash);
  });

  it("is replaced by a successor of the same identity while it still holds, by its owner alone", async () => {
    const { token } = await create(as("rita"));
    const { id } = token!;
    await expect(rotate(id, as("ulf"))).rejects.toMatchObject({ reason: "TOKEN_NOT_FOUND" });
    await expect(rotate(id, as("olga", staff))).rejects.toMatchObject({ reason: "NOT_YOURS" });
    const rotated = await rotate(id, as("rita"), 120n);
    const both = await Promise.all([shardOf(id), shardOf(rotated.token!.id)]);
    const [former, successor] = [id, rotated.token!.id].map((of, i) => both[i]!.find((found) => found.id === of));
    expect(Date.parse(String(former!.expiresAt)) - Date.now()).toBeLessThanOrEqual(120_000);
    expect(matchesApiToken(rotated.secret, successor!.hash)).toBe(true);
    const { tenant, subject, groups } = former!;
    expect(successor).toMatchObject({ tenant, subject, groups });

    await revoke(id, as("rita"));
    await expect(rotate(id, as("rita"))).rejects.toMatchObject({ reason: "TOKEN_ENDED" });
    const made = await create(as("olga", staff), { serviceAccount: "reports", groups: users });
    const { token: next } = await rotate(made.token!.id, as("olga", staff));
    expect(next?.subject).toBe("service/reports");
  });

  it("carries at most what its maker has, and what policy lets a token carry", async () => {
    const both = as("rae", [...users, "sallyport-reviewers", "others"]);
    expect((await create(both)).token?.groups).toEqual(users);
    for (const groups of [
      ["sallyport-reviewers"],
      ["others"],
      ["sallyport-platform"],
      [...users, "sallyport-operators"],
    ]) {
      await expect(create(both, { groups })).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
        reason: "GROUP_NOT_GRANTABLE",
      });
    }
    await expect(create(as("rae", ["sallyport-reviewers"]))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const service = { serviceAccount: "mail" };
    await expect(create(as("olga", operators), { ...service, groups: operators })).rejects.toMatchObject({
      reason: "GROUP_NOT_GRANTABLE",
    });
  });

  it("is for oneself; for a service account operators make it, in their tenant, staff anywhere", async () => {
    const service = { serviceAccount: "mail", groups: users };
    const denied = { code: "PERMISSION_DENIED", reason: "NOT_AUTHORISED" };
    await expect(create(as("uma"), service)).rejects.toMatchObject(denied);
    const { token } = await create(as("olga", operators), service);
    expect(token).toMatchObject({ tenant: "acme", issuer: "sallyport", subject: "service/mail", createdBy: "olga" });
    await expect(create(as("olga", operators), { ...service, tenant: "other" })).rejects.toMatchObject(denied);
    expect((await create(as("olga", staff), { ...service, tenant: "other" })).token?.tenant).toBe("other");
    // A person who is called like a service account is not that service account.
    const impostor = as("service/mail");
    expect(await tokens(impostor)).not.toContain(token!.id);
    await expect(revoke(token!.id, impostor)).rejects.toMatchObject({ reason: "TOKEN_NOT_FOUND" });
    await expect(create(as("uma"), { tenant: "other" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("is seen and revoked by its owner and by operators of its tenant, and is not there for others", async () => {
    const id = (await create()).token!.id;
    const gone = { code: "NOT_FOUND", reason: "TOKEN_NOT_FOUND" };
    const who = {
      namesake: as("uma", users, "other"),
      neighbour: as("ugo"),
      operator: as("olga", operators),
      stranger: as("oleg", operators, "other"),
      staff: as("pia", staff, "other"),
    };
    for (const [name, sees] of [
      ["namesake", false],
      ["neighbour", false],
      ["operator", true],
      ["stranger", false],
      ["staff", true],
    ] as const)
      expect((await tokens(who[name])).includes(id), name).toBe(sees);
    for (const name of ["namesake", "neighbour", "stranger"] as const)
      await expect(revoke(id, who[name])).rejects.toMatchObject(gone);
    await expect(revoke("0".repeat(16))).rejects.toMatchObject(gone);
    await expect(revoke("sp_no-such")).rejects.toMatchObject(gone);
    await expect(platform.credentials.revokeToken({ id }, who.operator)).rejects.toMatchObject({
      reason: "JUSTIFICATION_LENGTH",
    });
    await revoke(id, who.operator);
    const own = (await create()).token!.id;
    await platform.credentials.revokeToken({ id: own }, as("uma"));
    expect(await tokens()).not.toContain(own);
  });

  it("is switched off, as a credential of its tenant, by that tenant's operators", async () => {
    const { id } = (await create()).token!;
    const target = { target: { case: "credential" as const, value: id } };
    const pause = (who: ReturnType<typeof as>) => platform.switches.pause({ target, justification }, who);
    await expect(pause(as("oleg", operators, "other"))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect((await pause(as("olga", operators))).switch?.target?.target).toEqual(target.target);
  });

  it("that expires leaves its shard by itself", async () => {
    const { id } = (await create(as("uma"), { expiresInSeconds: 3n })).token!;
    expect((await shardOf(id)).some((found) => found.id === id)).toBe(true);
    await waitFor("the end", async () => !(await shardOf(id)).some((found) => found.id === id));
    expect(await tokens()).not.toContain(id);
  });

  it("is one of at most twenty of an identity, and of as many as its shard has room for", async () => {
    const many = as("max");
    for (let n = 0; n < 20; n += 1) await create(many);
    await expect(create(many)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_TOKENS" });
    const admin = await platform.postgres.admin();
    const schema = new URL(platform.env.DATABASE_URL).username;
    await admin.query(
      `INSERT INTO ${schema}.tokens (id, hash, name, tenant, issuer, subject, groups, created_at, creator, created_by, expires_at)
        SELECT to_hex(d) || lpad(to_hex(n), 15, '0'), repeat('0', 64), 'full', 'full', 'i', repeat('s', 200) || n,
          array['sallyport-users'], now(), 'test', 'test', now() + interval '1 day'
        FROM generate_series(0, 15) AS d, generate_series(1, 650) AS n`,
    );
    await expect(create(as("late"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "STATE_FULL" });
    expect(await tokens(as("late"), true)).toEqual([]);
    await admin.query(`UPDATE ${schema}.tokens SET listed = false WHERE tenant = 'full'`);
    await admin.end();
    await create(as("late"));
  });

  it.each<[string, MessageInitShape<typeof CreateTokenRequestSchema>]>([
    ["without a name", { name: "" }],
    ["with a name in disguise", { name: "lap\u202etop" }],
    ["for longer than a year", { expiresInSeconds: 366n * 86_400n }],
    ["for a service account of no name", { serviceAccount: "A B" }],
    ["for a service account without groups", { serviceAccount: "mail" }],
    ["in a tenant that cannot be one", { serviceAccount: "mail", groups: users, tenant: "A" }],
  ])("%s is refused", async (_, request) => {
    await expect(create(as("olga", staff), request)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_FIELD",
    });
  });
});

describe("a client certificate", () => {
  it("stands for one identity from its binding to its unbinding, both in the log", async () => {
    const { certificate } = await bind(spiffe("mail"));
    const { id } = certificate!;
    expect(await bound()).toContainEqual({
      ...{ id, tenant: "acme", subject: "mail", groups: users, spiffeId: "spiffe://example.org/mail" },
    });
    await expect(bind({ ...spiffe("mail"), subject: "other" })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    const operator = as("olga", operators);
    const listed = await platform.credentials.listCertificates({}, operator);
    expect(listed.certificates.map((found) => found.id)).toContain(id);
    await platform.credentials.unbindCertificate({ id, justification }, operator);
    expect((await bound()).some((found) => found.id === id)).toBe(false);
    const again = await platform.credentials.unbindCertificate({ id, justification }, operator);
    expect(again.certificate?.unboundAt).toBeDefined();
    expect((await bind({ ...spiffe("mail"), subject: "other" })).certificate?.subject).toBe("other");
    const records = await waitFor("the log", async () => {
      const found = await events(id);
      return found.length === 2 && found;
    });
    expect(records.map(({ event }) => event)).toEqual(["credential.bound", "credential.unbound"]);
  });

  it("may be named by its subject, and ends by itself", async () => {
    const subjectDn = { match: { case: "subjectDn" as const, value: "CN=batch,O=Example" } };
    const { certificate } = await bind({ ...subjectDn, expiresInSeconds: 4n });
    const entry = (await bound()).find(({ id }) => id === certificate!.id);
    expect(entry).toMatchObject({ subjectDn: "CN=batch,O=Example" });
    expect(Date.parse(String(entry?.expiresAt))).toBe(timestampMs(certificate!.expiresAt!));
    await waitFor("the end", async () => !(await bound()).some(({ id }) => id === certificate!.id));
    await bind(subjectDn);
  });

  it("is bound by the platform's staff alone, and carries no office", async () => {
    const denied = { code: "PERMISSION_DENIED" };
    await expect(bind(spiffe("a"), as("uma"))).rejects.toMatchObject(denied);
    // An operator of one tenant could take another tenant's application for the own one.
    await expect(bind(spiffe("a"), as("olga", operators))).rejects.toMatchObject(denied);
    await expect(bind({ ...spiffe("a"), tenant: "other" }, as("olga", operators))).rejects.toMatchObject(denied);
    await expect(bind({ ...spiffe("a"), groups: operators })).rejects.toMatchObject({ reason: "GROUP_NOT_GRANTABLE" });
    const { certificate } = await bind({ ...spiffe("theirs"), tenant: "other" }, as("pia", staff));
    const { id } = certificate!;
    await expect(
      platform.credentials.unbindCertificate({ id, justification }, as("olga", operators)),
    ).rejects.toMatchObject({ reason: "CERTIFICATE_NOT_FOUND" });
    const ours = await platform.credentials.listCertificates({ includeEnded: true }, as("olga", operators));
    expect(ours.certificates.map((found) => found.id)).not.toContain(id);
    await expect(platform.credentials.listCertificates({}, as("uma"))).rejects.toMatchObject(denied);
  });

  it.each<[string, MessageInitShape<typeof BindCertificateRequestSchema>]>([
    ["without a name of the certificate", {}],
    ["by something that is no SPIFFE id", { match: { case: "spiffeId", value: "https://example.org/mail" } }],
    ["by a whole trust domain", { match: { case: "spiffeId", value: "spiffe://example.org" } }],
    ["by an empty subject", { match: { case: "subjectDn", value: "" } }],
    ["without groups", { ...spiffe("b"), groups: [] }],
    ["without a subject", { ...spiffe("b"), subject: "" }],
  ])("%s is not bound", async (_, request) => {
    await expect(bind(request)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD" });
  });
});

/** All that governance keeps, as text. */
async function everything(): Promise<string> {
  const admin = await platform.postgres.admin();
  const schema = new URL(platform.env.DATABASE_URL).username;
  const { rows: tables } = await admin.query<{ name: string }>(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = $1",
    [schema],
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await admin.query<{ text: string }>(`SELECT "${name}"::text AS text FROM ${schema}."${name}"`);
    texts.push(...rows.map(({ text }) => text));
  }
  await admin.end();
  return texts.join("\n");
}
