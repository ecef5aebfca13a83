/** Access tokens of every wrong kind at the verifier that the services use: refused by name, and nobody's word is taken for a key. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError, createTokenVerifier, systemClock, type TokenVerifier } from "@sallyport/runtime";
import fc, { type Arbitrary } from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { campaign, rounds } from "./support/campaign.ts";
import { anyText, bent, damaged } from "./support/text.ts";

vi.setConfig({ testTimeout: 60_000 * rounds });

const ours = generateKeyPairSync("ec", { namedCurve: "P-256" });
const theirs = generateKeyPairSync("ec", { namedCurve: "P-256" });
const audience = "sallyport";
let keySets: Server;
let url: string;
let verifier: TokenVerifier;
/** Paths that were asked for: only the issuer's own key set may be. */
const asked: string[] = [];

beforeAll(async () => {
  const jwk = { ...ours.publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" };
  keySets = createServer((request, response) => {
    asked.push(request.url!);
    response.setHeader("content-type", "application/json");
    const other = { ...theirs.publicKey.export({ format: "jwk" }), kid: "k1" };
    response.end(JSON.stringify({ keys: [request.url === "/jwks" ? jwk : other] }));
  });
  await new Promise<void>((resolve) => keySets.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(keySets.address() as AddressInfo).port}`;
  verifier = createTokenVerifier([{ issuer: url, audience, jwksUri: `${url}/jwks` }], systemClock);
});
afterAll(() => new Promise((resolve) => keySets.close(resolve)));

type Signing = "ours" | "theirs" | "hmac" | "der" | "cut" | "none";

const encode = (text: string) => Buffer.from(text).toString("base64url");

function signature(how: Signing, input: string): string {
  const by = ({ privateKey }: { privateKey: KeyObject }, dsaEncoding: "ieee-p1363" | "der" = "ieee-p1363") =>
    sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding });
  const pem = ours.publicKey.export({ type: "spki", format: "pem" });
  const ways: Record<Signing, () => Buffer> = {
    ours: () => by(ours),
    theirs: () => by(theirs),
    hmac: () => createHmac("sha256", pem).update(input).digest(),
    der: () => by(ours, "der"),
    cut: () => by(ours).subarray(1),
    none: () => Buffer.alloc(0),
  };
  return ways[how]().toString("base64url");
}

interface Case {
  header: string;
  claims: string;
  how: Signing;
  /** Of the three parts, what stands in the token; "detached" leaves the payload out. */
  form: "compact" | "detached" | "unencoded" | "json" | "five parts";
}

function tokenOf({ header, claims, how, form }: Case): string {
  const [head, body] = [encode(header), form === "unencoded" ? claims : encode(claims)];
  const mark = signature(how, `${head}.${body}`);
  if (form === "json") return JSON.stringify({ protected: head, payload: body, signature: mark });
  if (form === "five parts") return [head, body, mark, body, mark].join(".");
  return [head, form === "detached" ? "" : body, mark].join(".");
}

const good = { alg: "ES256", kid: "k1", typ: "at+jwt" };
const claims = () => ({
  iss: url,
  aud: audience,
  sub: "ann",
  tenant: "acme",
  groups: ["sallyport-users"],
  exp: Math.floor(Date.now() / 1_000) + 600,
  nbf: 1,
  iat: 1,
  jti: "j1",
  cnf: { "x5t#S256": "a" },
});

/** Fields by which others have been led to keys and readings of the attacker's choice. */
function headers(): Arbitrary<string> {
  const their = { ...theirs.publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256" };
  const field = fc.constantFrom<[string, unknown]>(
    ...["none", "None", "nOnE", "HS256", "RS256", "ES512", "EdDSA", "dir", "", null, 7, ["ES256"], {}].map(
      (alg): [string, unknown] => ["alg", alg],
    ),
    ...["../../etc/passwd", "k2", "", 7, null, ["k1"], { toString: 1 }, "k1\0", "a".repeat(5_000)].map(
      (kid): [string, unknown] => ["kid", kid],
    ),
    ...[["exp"], ["b64"], [], "exp", 7, null, ["__proto__"]].map((crit): [string, unknown] => ["crit", crit]),
    ...["JWT", "secevent+jwt", "", 7, null, { toString: 1 }, ["at+jwt"]].map((typ): [string, unknown] => ["typ", typ]),
    ["jku", `${url}/theirs`],
    ["x5u", `${url}/theirs`],
    ["jwk", their],
    ["x5c", ["MIIB"]],
    ["b64", false],
    ["zip", "DEF"],
    ["enc", "A256GCM"],
    ["cty", "JWT"],
    ["__proto__", { alg: "ES256" }],
  );
  const changed = fc
    .array(field, { maxLength: 3 })
    .map((fields) => JSON.stringify({ ...good, ...Object.fromEntries(fields) }));
  return fc.oneof(changed, bent(good), fc.constant(JSON.stringify(good)));
}

function payloads(): Arbitrary<string> {
  const odd = fc.constantFrom<[string, unknown]>(
    ...[1e300, -1, 0, 1.5, "9999999999", null, [], {}, true, 8.64e15 + 1].flatMap((time): [string, unknown][] =>
      ["exp", "nbf", "iat"].map((name) => [name, time]),
    ),
    ["aud", [audience, "other"]],
    ["aud", Array(3_000).fill("x")],
    ["aud", { toString: 1 }],
    ["iss", [url]],
    ["tenant", "a".repeat(200)],
    ["tenant", "../acme"],
    ["tenant", ["acme"]],
    ["sub", "a\u202eb"],
    ["sub", { toString: 1 }],
    ["sub", ""],
    ["groups", Array(500).fill("g")],
    ["groups", [[[[[]]]]]],
    ["groups", { length: 1, 0: "sallyport-operators" }],
    ["jti", { toString: 1 }],
    ["jti", "j".repeat(9_000)],
    ["cnf", null],
    ["cnf", undefined],
    ["cnf", { jwk: {} }],
  );
  const changed = fc
    .array(odd, { maxLength: 2 })
    .map((fields) => JSON.stringify({ ...claims(), cnf: undefined, ...Object.fromEntries(fields) }));
  return fc.oneof(changed, bent({ ...claims(), cnf: undefined }), bent(claims()));
}

const cases = (): Arbitrary<Case> =>
  fc.record({
    header: headers(),
    claims: payloads(),
    how: fc.oneof(
      { weight: 3, arbitrary: fc.constant<Signing>("ours") },
      fc.constantFrom<Signing>("theirs", "hmac", "der", "cut", "none"),
    ),
    form: fc.oneof(
      { weight: 6, arbitrary: fc.constant<Case["form"]>("compact") },
      fc.constantFrom<Case["form"]>("detached", "unencoded", "json", "five parts"),
    ),
  });

/** The verifier's answer, which is an identity or UNAUTHENTICATED with a reason, soon, and without the token in its message. */
async function answerTo(token: string): Promise<string> {
  const startedAt = performance.now();
  try {
    await verifier.verify(token);
    return "accepted";
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.code).toBe("UNAUTHENTICATED");
    const parts = token.split(/[."]/).filter((part) => part.length > 15);
    expect(parts.some((part) => error.message.includes(part))).toBe(false);
    return error.reason;
  } finally {
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  }
}

test("who is accepted was signed for by the issuer's own key, as a plain access token that is still good", async () => {
  const tally = await campaign("token", cases(), { cases: 1_500 }, async (each) => {
    const answer = await answerTo(tokenOf(each));
    if (answer !== "accepted") return answer;
    expect(each).toMatchObject({ how: "ours", form: "compact" });
    const [header, payload] = [JSON.parse(each.header), JSON.parse(each.claims)];
    expect(header).toMatchObject({ alg: "ES256" });
    expect(header.crit).toBeUndefined();
    expect(payload).toMatchObject({ iss: url, tenant: expect.stringMatching(/^[a-z0-9][a-z0-9-]{0,63}$/) });
    expect([payload.aud].flat()).toContain(audience);
    expect(payload.exp).toBeGreaterThan(Date.now() / 1_000 - 60);
    return answer;
  });
  expect(tally.get("accepted")).toBeGreaterThan(0);
  expect(tally.get("TOKEN_SIGNATURE")).toBeGreaterThan(0);
  // An unknown key's name may be a new key: asked for now and then, and of nobody but the issuer.
  expect(new Set(asked)).toEqual(new Set(["/jwks"]));
  expect(asked.length).toBeLessThan(8);
});

test("what is no token at all is refused as one", async () => {
  const { cnf: _, ...plain } = claims();
  const token = tokenOf({ header: JSON.stringify(good), claims: JSON.stringify(plain), how: "ours", form: "compact" });
  expect(await answerTo(token)).toBe("accepted");
  const strange = fc.oneof(
    damaged(Buffer.from(token)).map((bytes) => Buffer.from(bytes).toString("latin1")),
    anyText,
    fc.nat({ max: 20_000 }).map((length) => `${"a".repeat(length)}.${"b".repeat(length)}.c`),
    fc.nat({ max: 20_000 }).map((dots) => ".".repeat(dots)),
  );
  await campaign("no token", strange, { cases: 700 }, async (each) => {
    const answer = await answerTo(each);
    if (answer === "accepted") expect(each.split(".").slice(0, 2)).toEqual(token.split(".").slice(0, 2));
    return answer;
  });
});
