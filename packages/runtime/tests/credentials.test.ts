/** API tokens and client certificates, from the signed shards and over real TLS. */
import { X509Certificate } from "node:crypto";
import { encodeEnvelopeJson, type Json, signState } from "@sallyport/attestation";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Bus,
  createApiToken,
  createCallerVerifier,
  createLogger,
  createTokenVerifier,
  hashApiToken,
  putState,
  readClientCertificate,
  systemIds,
  type WatchedCredentials,
  watchCredentials,
} from "../src/index.ts";
import { createTestPki, createTestTrust, startTestNats, type TestNats, waitFor } from "../testing/index.ts";

const log = createLogger("test", "error");
const keys = createTestTrust();
const hour = 3_600_000;
let nats: TestNats;
let bus: Bus;
let credentials: WatchedCredentials;
let now = new Date();
let version = 0;

beforeAll(async () => {
  nats = await startTestNats();
  await nats.provision([]);
  bus = await nats.bus("governance", log);
  credentials = watchCredentials({ bus, trust: keys.trust, clock: { now: () => now }, log });
});
afterAll(async () => {
  await credentials[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});
beforeEach(() => {
  now = new Date();
});

async function put(key: string, value: object) {
  version += 1;
  const state = { bucket: "credentials", key, version, value: value as Json, issuedAt: new Date().toISOString() };
  await putState(bus, "credentials", key, encodeEnvelopeJson(signState(keys.signer("state"), state)));
}
const entry = (token: { id: string; hash: string }, expiresInMs = hour) => ({
  ...{ id: token.id, hash: token.hash, tenant: "acme", issuer: "https://id.example", subject: "ann" },
  groups: ["sallyport-users"],
  expiresAt: new Date(Date.now() + expiresInMs).toISOString(),
});
const shardOf = (id: string) => `tokens-${Number.parseInt(id[0]!, 16) >> 1}`;
const reasonOf = (ask: () => unknown) => {
  try {
    ask();
    return "accepted";
  } catch (error) {
    return (error as { reason?: string }).reason;
  }
};

describe("an API token", () => {
  test("is refused as long as its shard was not read, and then stands for its identity", async () => {
    const token = createApiToken(systemIds);
    expect(reasonOf(() => credentials.token(token.token))).toBe("STATE_STALE");
    await put(shardOf(token.id), { tokens: [entry(token)] });
    await waitFor("the shard", () => reasonOf(() => credentials.token(token.token)) === "accepted");
    expect(credentials.token(token.token)).toEqual({
      identity: {
        ...{ tenant: "acme", subject: "ann", issuer: "https://id.example", groups: ["sallyport-users"] },
        credential: token.id,
      },
      ref: `token/${token.id}`,
    });
    expect(credentials.fresh).toBe(false);
  });

  test("with another secret, unknown, cut, or past its time is refused; revoked, it is not believed at once", async () => {
    const [token, unknown] = [createApiToken(systemIds), createApiToken(systemIds)];
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((shard) => put(`tokens-${shard}`, { tokens: [] })));
    await put(shardOf(token.id), { tokens: [entry(token)] });
    await waitFor("the shards", () => reasonOf(() => credentials.token(token.token)) === "accepted");
    const secret = unknown.token.slice("sp_".length + 17, -6);
    const body = `sp_${token.id}_${secret}`;
    const forged = `${body}${hashApiToken(body).slice(0, 6)}`;
    expect(reasonOf(() => credentials.token(forged))).toBe("CREDENTIAL_REVOKED");
    expect(reasonOf(() => credentials.token(unknown.token))).toBe("CREDENTIAL_REVOKED");
    expect(reasonOf(() => credentials.token(token.token.slice(0, -1)))).toBe("TOKEN_MALFORMED");
    now = new Date(Date.now() + hour + 1);
    expect(reasonOf(() => credentials.token(token.token))).toBe("TOKEN_EXPIRED");
    now = new Date();
    const began = performance.now();
    await put(shardOf(token.id), { tokens: [] });
    await waitFor("the revocation", () => !credentials.believes(`token/${token.id}`), { everyMs: 1 });
    console.log(`a revocation was heard after ${Math.round(performance.now() - began)} ms`);
    expect(reasonOf(() => credentials.token(token.token))).toBe("CREDENTIAL_REVOKED");
  });
});

describe("a client certificate", () => {
  const binding = (more: object) => ({ tenant: "acme", subject: "service/mail", groups: ["sallyport-users"], ...more });

  test("stands for what its one SPIFFE id or its subject is bound to, until it is unbound or past its time", async () => {
    const pki = await createTestPki();
    const der = async (options: object) => new X509Certificate((await pki.issue("mail", options)).cert).raw;
    const spiffe = readClientCertificate(await der({ uris: ["spiffe://example.org/mail"] }));
    const named = readClientCertificate(await der({ uris: [], subject: "C=DE, O=Acme\\, Inc, CN=mail" }));
    const twice = readClientCertificate(await der({ uris: ["spiffe://example.org/mail", "spiffe://example.org/b"] }));
    expect(named.subjectDn).toBe("CN=mail,O=Acme\\, Inc,C=DE");
    expect(reasonOf(() => credentials.certificate(spiffe))).toBe("STATE_STALE");
    const certificates = [
      binding({ id: "1", spiffeId: "spiffe://example.org/mail" }),
      binding({ id: "2", subjectDn: named.subjectDn, subject: "service/named" }),
    ];
    await put("certificates", { certificates });
    await waitFor("the bindings", () => reasonOf(() => credentials.certificate(spiffe)) === "accepted");
    expect(credentials.certificate(spiffe)).toMatchObject({
      identity: { issuer: "sallyport-mtls", subject: "service/mail", credential: spiffe.fingerprint },
      ref: "certificate/1",
    });
    expect(credentials.certificate(named).identity.subject).toBe("service/named");
    expect(reasonOf(() => credentials.certificate(twice))).toBe("CERTIFICATE_UNBOUND");
    now = new Date(spiffe.validTo.getTime());
    expect(reasonOf(() => credentials.certificate(spiffe))).toBe("CERTIFICATE_EXPIRED");
    now = new Date();
    await put("certificates", { certificates: [{ ...certificates[1], expiresAt: new Date().toISOString() }] });
    await waitFor("the unbinding", () => !credentials.believes("certificate/1"));
    expect(reasonOf(() => credentials.certificate(spiffe))).toBe("CERTIFICATE_UNBOUND");
    expect(reasonOf(() => credentials.certificate(named))).toBe("CERTIFICATE_UNBOUND");
  });

  test("is nobody's while two tenants claim it, each by another of its names", async () => {
    const pki = await createTestPki();
    const { cert } = await pki.issue("mail", { uris: ["spiffe://example.org/both"], subject: "CN=both" });
    const both = readClientCertificate(new X509Certificate(cert).raw);
    const mine = binding({ id: "mine", subjectDn: "CN=both" });
    const claim = async (id: string, tenant: string) => {
      await put("certificates", {
        certificates: [mine, binding({ id, spiffeId: "spiffe://example.org/both", tenant })],
      });
      await waitFor("the claim", () => credentials.believes(`certificate/${id}`));
    };
    await claim("theirs", "other");
    expect(reasonOf(() => credentials.certificate(both))).toBe("CERTIFICATE_UNBOUND");
    await claim("ours", "acme");
    expect(credentials.certificate(both)).toMatchObject({ ref: "certificate/ours", identity: { tenant: "acme" } });
  });
});

test("the bearer names the caller where a certificate comes too, and nothing at all is TOKEN_MISSING", async () => {
  const token = createApiToken(systemIds);
  await put(shardOf(token.id), { tokens: [entry(token)] });
  await waitFor("the shard", () => reasonOf(() => credentials.token(token.token)) === "accepted");
  let grantable = ["others", "sallyport-users"];
  const callers = createCallerVerifier(createTokenVerifier([], { now: () => now }), credentials, () => grantable);
  const certificate = { fingerprint: "ab".repeat(32), spiffeId: "x", subjectDn: undefined, validTo: new Date(8e15) };
  const caller = await callers.verify({ bearer: token.token, certificate });
  const groups = ["sallyport-users"];
  expect(caller).toMatchObject({ subject: "ann", credentialRef: `token/${token.id}`, groups });
  // Policy has taken the group back since the token was made.
  grantable = ["others"];
  expect(await callers.verify({ bearer: token.token })).toMatchObject({ subject: "ann", groups: [] });
  await expect(callers.verify({ bearer: undefined, certificate })).rejects.toMatchObject({
    reason: "CERTIFICATE_UNBOUND",
  });
  await expect(callers.verify({ bearer: undefined })).rejects.toMatchObject({ reason: "TOKEN_MISSING" });
  await expect(callers.verify({ bearer: "a.b.c", certificate })).rejects.toMatchObject({ reason: "TOKEN_MALFORMED" });
});
