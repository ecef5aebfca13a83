import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { asAppError } from "@sallyport/runtime";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkJsonSize, readBody } from "./body.ts";
import { httpLimits } from "./limits.ts";

const quick = { ...httpLimits, bodyBytes: 1_000, bodyGraceMs: 300, bodyBytesPerSecond: 10_000 };
const server = createServer((request, response) => {
  readBody(request, quick).then(
    (body) => response.end(`read ${body.length}`),
    (error) => response.end(asAppError(error).reason),
  );
});
beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
afterAll(() => new Promise<void>((resolve) => void server.close(() => resolve())));

const head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";

/** The answer to `parts`, each sent `everyMs` after the one before. */
function send(parts: string[], everyMs = 0): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const timer = setInterval(() => (parts.length > 0 ? socket.write(parts.shift()!) : clearInterval(timer)), everyMs);
    socket.on("data", (data) => {
      heard += data;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(timer);
      resolve(
        heard
          .split("\r\n\r\n")[1]
          ?.split("\r\n")
          .find((line) => /\w{4}/.test(line)) ?? "",
      );
    });
  });
}

describe("a body", () => {
  test.each([
    ["in one piece", [`${head}content-length: 5\r\n\r\nhello`], "read 5"],
    ["in chunks", [`${head}transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n`, "3\r\nllo\r\n0\r\n\r\n"], "read 5"],
    ["that says it is too large", [`${head}content-length: 1001\r\n\r\n`], "BODY_TOO_LARGE"],
    [
      "that is too large without saying so",
      [`${head}transfer-encoding: chunked\r\n\r\n7d0\r\n${"x".repeat(2_000)}\r\n0\r\n\r\n`],
      "BODY_TOO_LARGE",
    ],
    ["packed", [`${head}content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello`], "UNSUPPORTED_ENCODING"],
    ["that never ends", [`${head}content-length: 5\r\n\r\nhell`], "BODY_TOO_SLOW"],
  ])("%s", async (_, parts, answer) => {
    expect(await send([...parts])).toBe(answer);
  });

  test("at a trickle is not waited for, and at a fair pace is", async () => {
    const trickle = [`${head}content-length: 400\r\n\r\n`, ..."x".repeat(400)];
    const fair = [`${head}content-length: 400\r\n\r\n`, ...Array<string>(4).fill("x".repeat(100))];
    expect(await Promise.all([send(trickle, 20), send(fair, 20)])).toEqual(["BODY_TOO_SLOW", "read 400"]);
  });
});

const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

/** Values, and names of members. */
const nodesOf = (value: unknown): number => {
  if (typeof value !== "object" || value === null) return 1;
  const inner = Object.values(value).reduce((sum: number, each) => sum + nodesOf(each), 1);
  return Array.isArray(value) ? inner : inner + Object.keys(value).length;
};

test("depth and number of values are counted as the parser would find them, whatever strings hold", () => {
  const tricky = fc.string({ unit: fc.constantFrom('"', "\\", "[", "{", "]", "}", ",", ":", "a", "\ud83d\ude00") });
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 6 },
      fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), tricky),
      fc.array(tie("json"), { maxLength: 4 }),
      fc.dictionary(tricky, tie("json"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, "\t"), (value, space) => {
      const text = JSON.stringify(value, undefined, space);
      const [jsonDepth, jsonNodes] = [depthOf(value), nodesOf(value)];
      checkJsonSize(text, { jsonDepth, jsonNodes: 2 * jsonNodes });
      if (jsonDepth > 0) {
        const shallower = { jsonDepth: jsonDepth - 1, jsonNodes: Number.MAX_SAFE_INTEGER };
        expect(() => checkJsonSize(text, shallower)).toThrow("nested");
      }
      // A list's or object's first value has no comma before it, so that up to half may go uncounted.
      if (jsonNodes > 3) expect(() => checkJsonSize(text, { jsonDepth, jsonNodes: jsonNodes / 3 })).toThrow("values");
    }),
    { numRuns: 300 },
  );
});

test("what is no JSON at all is neither a crash nor a hang here", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('"', "\\", "[", "{", "]", "}", ",", ":", "0") }), (text) => {
      try {
        checkJsonSize(text);
      } catch (error) {
        expect(asAppError(error).code).toBe("INVALID_ARGUMENT");
      }
    }),
  );
});
