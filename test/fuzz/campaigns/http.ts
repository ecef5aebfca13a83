/** Requests as no HTTP library would send them: lines, headers, framing and ends of every wrong kind. */
import fc, { type Arbitrary } from "fast-check";
import { expect } from "vitest";
import { model, type TestPlatform } from "../../kit/index.ts";
import { campaign } from "../support/campaign.ts";
import { type Place, type Speech, speak } from "../support/sockets.ts";

const routes = ["/v1/chat/completions", "/v1/moderations", "/v1/models", "/v1/requests/1", "/v1/requests/1/cancel"];
const tiles = ["/checkpoint", "/tile/0/000", "/tile/entries/000", "/tile/0/x001/067.p/5", "/tile/63/999", "/tile/0/-1"];
const methods = [
  "GET",
  "POST",
  "PUT",
  "DELETE",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "TRACE",
  "CONNECT",
  "PRI",
  "get",
  "P T",
  "",
  "QUERY",
];
const targets = [
  "*",
  "//",
  "/v1/../v1/models",
  "http://x/v1/models",
  "/%00",
  "/%zz",
  "/v1/models/%2e%2e%2f",
  "?",
  "",
  "/\u00e9",
  "/a#b",
];
const versions = [
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/0.9",
  "HTTP/2.0",
  "HTTP/1.10",
  "http/1.1",
  "",
  "HTTP/",
];
const lengths = ["5", "0", "-1", "+5", "5, 5", "5,6", "0x5", "1e3", "99999999999999999999", " 5 ", "5;", "", "\u00b2"];
const codings = [
  "chunked",
  "Chunked",
  "chunked, chunked",
  "gzip, chunked",
  "identity",
  "xchunked",
  "chunked;a=b",
  " chunked",
  "\x0bchunked",
];

const header: Arbitrary<string> = fc.oneof(
  fc.constantFrom(...lengths).map((value) => `content-length: ${value}`),
  fc.constantFrom(...codings).map((value) => `transfer-encoding: ${value}`),
  fc.constantFrom(
    "host: x",
    "host: ",
    "Host: a\r\nHost: b",
    "content-type: application/json",
    "content-type: text/plain; charset=\u00e9",
    "expect: 100-continue",
    "expect: x",
    "connection: upgrade\r\nupgrade: h2c",
    "connection: keep-alive, close, x",
    "connection: content-length",
    "trailer: x",
    "te: trailers",
    "content-encoding: gzip",
    "accept-version: 1.x",
    "idempotency-key: a b",
    "traceparent: 00-0-0-0",
    " folded: line",
    "no colon",
    ": no name",
    "na me: x",
    "x:\n y",
    "x: \0",
    "x: \r y",
    "__proto__: x",
    "constructor: x",
  ),
  fc.tuple(fc.nat({ max: 80 }), fc.constant("x: y")).map(([times, line]) => Array(times).fill(line).join("\r\n")),
  fc.nat({ max: 20_000 }).map((length) => `x: ${"a".repeat(length)}`),
);

const body: Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "",
    "hello",
    "{}",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "ffffffffffffffff\r\n",
    "-1\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "05\r\nhelloX",
    "0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n".repeat(40),
    JSON.stringify({ model, messages: [] }),
  ),
  fc.nat({ max: 20_000 }).map((length) => `1;${"a".repeat(length)}\r\nx\r\n0\r\n\r\n`),
  fc.nat({ max: 2_000 }).map((times) => `${"1\r\nx\r\n".repeat(times)}0\r\n\r\n`),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
);

function requests(token: string, routes: readonly string[]): Arbitrary<Speech> {
  const right = ["connection: close", "content-type: application/json", `authorization: Bearer ${token}`];
  const whole = fc
    .record({
      method: mostly(fc.constantFrom("POST", "GET"), fc.constantFrom(...methods)),
      target: mostly(fc.constantFrom(...routes), fc.constantFrom(...targets)),
      version: mostly(fc.constant("HTTP/1.1"), fc.constantFrom(...versions)),
      these: fc.subarray([...right]),
      those: mostly(fc.constant<string[]>([]), fc.array(header, { minLength: 1, maxLength: 2 })),
      framed: mostly(
        body.map(inFrame),
        body.map((bare) => ({ lines: [] as string[], bytes: bare })),
      ),
    })
    .map(({ method, target, version, these, those, framed }) => {
      const lines = ["host: x", ...these, ...those, ...framed.lines];
      return Buffer.from([`${method} ${target} ${version}`, ...lines, "", framed.bytes].join("\r\n"), "latin1");
    });
  const bytes = fc.oneof(
    { weight: 9, arbitrary: whole },
    fc.uint8Array({ maxLength: 200 }).map((raw) => Buffer.from(raw)),
  );
  const cuts = fc.array(fc.nat({ max: 2_000 }), { maxLength: 4 });
  const ending = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Speech["ending"]>("end") },
    fc.constant<Speech["ending"]>("reset"),
  );
  return fc.record({ bytes, cuts, ending }).map(({ bytes, cuts, ending }) => ({ pieces: split(bytes, cuts), ending }));
}

/** With its length before it, or in chunks. */
function inFrame(bytes: string): { lines: string[]; bytes: string } {
  if (bytes.length % 2) return { lines: [`content-length: ${bytes.length}`], bytes };
  return {
    lines: ["transfer-encoding: chunked"],
    bytes: `${bytes ? `${bytes.length.toString(16)}\r\n${bytes}\r\n` : ""}0\r\n\r\n`,
  };
}

/** Of what is right in all but one place more is read than of what is wrong everywhere. */
const mostly = <T>(right: Arbitrary<T>, wrong: Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: right }, { weight: 1, arbitrary: wrong });

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((to, i) => bytes.subarray(places[i], to));
}

/** The client API, and (a fifth as often) the log's tiles, which have texts of their own. */
export async function fuzzHttp({ platform, token }: TestPlatform, cases: number): Promise<void> {
  const gateway = requests(token("user"), routes);
  await campaign("HTTP", gateway, { cases, atOnce: 24 }, async (speech) => {
    const { heads, heard } = await answersTo(placeOf(platform.endpoints.gatewayHttp), speech);
    expectOurShape(heads, heard, speech);
    return outcomeOf(heads);
  });
  const audit = requests(token("auditor"), tiles);
  await campaign("HTTP of the log", audit, { cases: Math.ceil(cases / 5), atOnce: 24 }, async (speech) =>
    outcomeOf((await answersTo(placeOf(platform.endpoints.auditHttp), speech)).heads),
  );
}

function placeOf(url: string): Place {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

const allowed = new Set([100, 200, 400, 401, 403, 404, 405, 408, 413, 414, 417, 429, 431]);

/** Every answer's status is success or a caller's fault. */
async function answersTo(place: Place, speech: Speech): Promise<{ heads: number[]; heard: string }> {
  const heard = await speak(place, speech);
  const heads = [...heard.matchAll(/HTTP\/1\.1 (\d{3}) [^\r]*\r\n/g)].map(([, status]) => Number(status));
  for (const status of heads) expect(allowed).toContain(status);
  return { heads, heard };
}

function expectOurShape(heads: readonly number[], heard: string, { pieces, ending }: Speech): void {
  const bodies = heard.match(/\{"error":\{"message":"/g)?.length ?? 0;
  const said = Buffer.concat(pieces).toString("latin1");
  // A HEAD has no body; what broke off may not have had the time.
  if (ending === "end" && !said.startsWith("HEAD")) expect(bodies).toBe(heads.filter((status) => status >= 400).length);
}

function outcomeOf(heads: readonly number[]): string {
  return heads.length === 0 ? "no answer" : `${heads[0]}${heads.length > 1 ? "+" : ""}`;
}
