import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { createTokenVerifier, parseIssuers, type TokenVerifier, thumbprintOf } from "../src/index.ts";

const audience = "sallyport-api";
const keys = await generateKeyPair("ES256", { extractable: true });
const strangers = await generateKeyPair("ES256");
const jwk = { ...(await exportJWK(keys.publicKey)), kid: "k1", alg: "ES256", use: "sig" };
let published = [jwk];
let answerWith = 200;
let fetches = 0;
const http = createServer((_request, response) => {
  fetches += 1;
  response.writeHead(answerWith, { "content-type": "application/json" }).end(JSON.stringify({ keys: published }));
});

let issuer: string;
let jwksUri: string;
let now = new Date();
let verifier: TokenVerifier;
beforeAll(async () => {
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  issuer = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  jwksUri = `${issuer}/jwks`;
});
afterAll(() => http.close());
beforeEach(() => {
  [published, answerWith, fetches, now] = [[jwk], 200, 0, new Date()];
  verifier = createTokenVerifier([{ issuer, audience, jwksUri }], { now: () => now });
});

afterEach(() => vi.useRealTimers());

const seconds = (from: Date, more: number) => Math.floor(from.getTime() / 1_000) + more;

/** A good token, with claims and header fields replaced; undefined removes one. */
function token(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, key = keys.privateKey) {
  const payload = {
    iss: issuer,
    aud: audience,
    sub: "alice",
    tenant: "acme",
    groups: ["users"],
    jti: "t-1",
    exp: seconds(now, 60),
    ...claims,
  };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader({ alg: "ES256", kid: "k1", typ: "at+jwt", ...header })
    .sign(key);
}

async function reasonOf(bearer: string | undefined): Promise<string> {
  const error = await verifier.verify(bearer).catch((caught) => caught);
  for (const part of bearer?.split(".") ?? []) {
    if (part.length > 8) expect(error.message ?? "").not.toContain(part);
  }
  return error.reason ?? "accepted";
}

test("a good access token gives tenant, subject, issuer, groups and credential", async () => {
  expect(await verifier.verify(await token())).toEqual({
    tenant: "acme",
    subject: "alice",
    issuer,
    groups: ["users"],
    credential: "t-1",
  });
});

test("a client's token without sub and jti is known by client_id and a digest", async () => {
  const bearer = await token({ sub: undefined, client_id: "batch", jti: undefined, groups: undefined });
  const identity = await verifier.verify(bearer);
  expect(identity).toMatchObject({ subject: "batch", groups: [] });
  expect(identity.credential).toMatch(/^[0-9a-f]{32}$/);
});

test("no token is TOKEN_MISSING, and what is no JWT is TOKEN_MALFORMED", async () => {
  expect(await reasonOf(undefined)).toBe("TOKEN_MISSING");
  expect(await reasonOf("")).toBe("TOKEN_MISSING");
  for (const bearer of ["abc", "a.b.c", "e30.e30.e30.e30.e30", `${"a".repeat(20_000)}.b.c`, "e30..", "bnVsbA.e30.x"]) {
    expect(await reasonOf(bearer)).toMatch(/^TOKEN_(MALFORMED|ALGORITHM)$/);
  }
  expect(await reasonOf(await token({}, { typ: "dpop+jwt" }))).toBe("TOKEN_MALFORMED");
});

test("expiry is required, and 30 s of clock difference are forgiven", async () => {
  expect(await reasonOf(await token({ exp: seconds(now, -25) }))).toBe("accepted");
  expect(await reasonOf(await token({ exp: seconds(now, -35) }))).toBe("TOKEN_EXPIRED");
  expect(await reasonOf(await token({ exp: undefined }))).toBe("TOKEN_CLAIMS");
  expect(await reasonOf(await token({ nbf: seconds(now, 60) }))).toBe("TOKEN_NOT_YET_VALID");
});

test("another audience or issuer is refused by name", async () => {
  expect(await reasonOf(await token({ aud: "other" }))).toBe("TOKEN_AUDIENCE");
  expect(await reasonOf(await token({ aud: undefined }))).toBe("TOKEN_AUDIENCE");
  expect(await reasonOf(await token({ aud: ["other", audience] }))).toBe("accepted");
  expect(await reasonOf(await token({ iss: "https://elsewhere.example" }))).toBe("TOKEN_ISSUER");
  expect(await reasonOf(await token({ iss: `${issuer}/` }))).toBe("TOKEN_ISSUER");
  expect(await reasonOf(await token({ iss: undefined }))).toBe("TOKEN_ISSUER");
});

test("unsigned tokens and shared-secret signatures are TOKEN_ALGORITHM, also with the public key as secret", async () => {
  const parts = (await token()).split(".");
  const withHeader = (header: object) => `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${parts[1]}`;
  expect(await reasonOf(`${withHeader({ alg: "none" })}.`)).toBe("TOKEN_ALGORITHM");
  const signed = withHeader({ alg: "HS256", kid: "k1" });
  const mac = createHmac("sha256", await exportSPKI(keys.publicKey))
    .update(signed)
    .digest("base64url");
  expect(await reasonOf(`${signed}.${mac}`)).toBe("TOKEN_ALGORITHM");
});

test("a stranger's key, an unknown key id and altered claims are TOKEN_SIGNATURE", async () => {
  expect(await reasonOf(await token({}, {}, strangers.privateKey))).toBe("TOKEN_SIGNATURE");
  expect(await reasonOf(await token({}, { kid: "k9" }))).toBe("TOKEN_SIGNATURE");
  const [header, , signature] = (await token()).split(".");
  const other = (await token({ tenant: "other" })).split(".")[1];
  expect(await reasonOf(`${header}.${other}.${signature}`)).toBe("TOKEN_SIGNATURE");
});

test("a key inside the token is not believed", async () => {
  const embedded = await exportJWK(strangers.publicKey);
  expect(await reasonOf(await token({}, { jwk: embedded }, strangers.privateKey))).toBe("TOKEN_SIGNATURE");
});

test.each([
  ["no tenant", { tenant: undefined }],
  ["an empty tenant", { tenant: "" }],
  ["a tenant in capitals", { tenant: "Acme" }],
  ["a tenant that no ticket can name", { tenant: "-acme" }],
  ["a tenant of 65 characters", { tenant: "a".repeat(65) }],
  ["a list of tenants", { tenant: ["acme"] }],
  ["an empty subject", { sub: "" }],
  ["a subject with a direction mark", { sub: "ali\u202ece" }],
  ["a subject with a line break", { sub: "a\nb" }],
  ["groups that are no list", { groups: "admins" }],
  ["a group that is no name", { groups: [7] }],
  ["201 groups", { groups: Array.from({ length: 201 }, (_, i) => `g${i}`) }],
])("%s is TOKEN_CLAIMS", async (_what, claims) => {
  expect(await reasonOf(await token(claims))).toBe("TOKEN_CLAIMS");
});

test("unknown key ids do not make it ask the issuer again and again", async () => {
  for (let i = 0; i < 20; i += 1) await reasonOf(await token({}, { kid: `unknown-${i}` }));
  expect(fetches).toBe(1);
});

test("keys that cannot be had are UNAVAILABLE, not a refusal, and it recovers", async () => {
  answerWith = 500;
  expect(await reasonOf(await token())).toBe("ISSUER_UNAVAILABLE");
  answerWith = 200;
  expect(await reasonOf(await token())).toBe("ISSUER_UNAVAILABLE");
  await expect.poll(async () => reasonOf(await token()), { timeout: 3_000 }).toBe("accepted");
});

/** The issuer's keys change at once, and the clock of their cache goes on by `ms`. */
function rotate(to: typeof published, ms: number) {
  published = to;
  vi.setSystemTime(Date.now() + ms);
  now = new Date();
}
const minuteMs = 60_000;

test("a new key of the issuer is fetched when its first token comes, and the old one goes on while it is published", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  expect(await reasonOf(await token())).toBe("accepted");
  const next = await generateKeyPair("ES256", { extractable: true });
  const second = { ...(await exportJWK(next.publicKey)), kid: "k2", alg: "ES256", use: "sig" };
  rotate([jwk, second], minuteMs);
  expect(await reasonOf(await token({}, { kid: "k2" }, next.privateKey))).toBe("accepted");
  expect(await reasonOf(await token())).toBe("accepted");
  expect(fetches).toBe(2);
});

test("a key that the issuer took back is not believed ten minutes later", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  expect(await reasonOf(await token())).toBe("accepted");
  const next = await generateKeyPair("ES256", { extractable: true });
  const second = { ...(await exportJWK(next.publicKey)), kid: "k2", alg: "ES256", use: "sig" };
  rotate([second], 11 * minuteMs);
  expect(await reasonOf(await token())).toBe("TOKEN_SIGNATURE");
  expect(await reasonOf(await token({}, { kid: "k2" }, next.privateKey))).toBe("accepted");
});

test("each of several issuers speaks with its own keys for its own tenants alone", async () => {
  const other = `${issuer}/other`;
  const issuers = [
    { issuer, audience, jwksUri, tenants: ["acme"] },
    { issuer: other, audience, jwksUri: `${other}/jwks`, tenants: ["globex"] },
  ];
  verifier = createTokenVerifier(issuers, { now: () => now });
  expect(await reasonOf(await token())).toBe("accepted");
  expect(await reasonOf(await token({ iss: other, tenant: "globex" }))).toBe("accepted");
  expect(await reasonOf(await token({ tenant: "globex" }))).toBe("TOKEN_TENANT");
  expect(await reasonOf(await token({ iss: other }))).toBe("TOKEN_TENANT");
});

test("a token bound to a certificate (RFC 8705) holds with that certificate alone, and other bindings never", async () => {
  const mine = { fingerprint: "ab".repeat(32), spiffeId: undefined, subjectDn: "CN=a", validTo: now };
  const bound = await token({ cnf: { "x5t#S256": thumbprintOf(mine) } });
  expect(await verifier.verify(bound, mine)).toMatchObject({ subject: "alice" });
  expect(await reasonOf(bound)).toBe("TOKEN_BINDING");
  const other = { ...mine, fingerprint: "cd".repeat(32) };
  await expect(verifier.verify(bound, other)).rejects.toMatchObject({ reason: "TOKEN_BINDING" });
  for (const cnf of [{ jkt: "x" }, {}, "x", null, { "x5t#S256": thumbprintOf(mine), jkt: "x" }]) {
    await expect(verifier.verify(await token({ cnf }), mine)).rejects.toMatchObject({ reason: "TOKEN_BINDING" });
  }
});

test("OIDC_ISSUERS: plain HTTP off the loopback, unknown fields and twins are faults", () => {
  const good = { issuer: "https://id.example", audience, jwksUri: "https://id.example/jwks" };
  expect(parseIssuers([good])).toEqual([good]);
  expect(parseIssuers([{ ...good, tenants: ["acme"] }])).toEqual([{ ...good, tenants: ["acme"] }]);
  for (const bad of [
    [],
    {},
    null,
    [null],
    [{ ...good, jwksUri: "http://id.example/jwks" }],
    [{ ...good, jwksUri: "nonsense" }],
    [{ ...good, audience: "" }],
    [{ ...good, audiense: "x" }],
    [{ ...good, tenants: [] }],
    [{ ...good, tenants: "acme" }],
    [{ ...good, tenants: [""] }],
    [good, good],
  ]) {
    expect(() => parseIssuers(bad)).toThrow();
  }
});

test("a type that is no text is a malformed token and no fault of ours: it needs no signature to come this far", async () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  for (const typ of [{ toString: 1 }, [], null, 7]) {
    expect(await reasonOf(`${encode({ alg: "ES256", kid: "k1", typ })}.${encode({ iss: issuer })}.AA`)).toBe(
      "TOKEN_MALFORMED",
    );
  }
});

test("a token that was good a moment ago is believed again, not beyond its own end, and no other for it", async () => {
  const bearer = await token({ exp: seconds(now, 40) });
  const other = await token({ exp: seconds(now, 600) });
  const who = await verifier.verify(bearer);
  await verifier.verify(other);
  const start = now;
  now = new Date(start.getTime() + 29_000);
  expect(await verifier.verify(bearer)).toEqual(who);
  now = new Date(start.getTime() + 71_000);
  expect(await reasonOf(bearer)).toBe("TOKEN_EXPIRED");
  const altered = `${other.slice(0, -2)}AA`;
  await verifier.verify(other);
  expect(await reasonOf(altered)).toBe("TOKEN_SIGNATURE");
});
