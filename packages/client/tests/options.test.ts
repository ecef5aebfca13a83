import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustBundle, keyIdOf } from "@sallyport/attestation";
import { expect, onTestFinished, test } from "vitest";
import { type ClientOptions, createClient } from "../src/index.ts";
import { fromHttpError, retryAfterMs } from "../src/transport/http-errors.ts";
import { readEvents } from "../src/transport/sse.ts";
import { trustSource } from "../src/verify/trust.ts";

const root = generateKeyPairSync("ed25519");
const door = generateKeyPairSync("ed25519");
const rootPem = root.publicKey.export({ type: "spki", format: "pem" }).toString();
const bundle = (version: number, minutes = 10): Uint8Array => {
  const at = (offset: number) => new Date(Date.now() + offset * 60_000).toISOString();
  const key = {
    keyid: keyIdOf(door.publicKey),
    service: "pre-moderator",
    stages: ["door1" as const],
    publicKey: door.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
    notBefore: at(-60),
    notAfter: at(60),
  };
  const times = { issuedAt: at(-60), expiresAt: at(minutes) };
  return createTrustBundle({ version, ...times, keys: [key], encryption: [], logs: [] }, root.privateKey);
};
const good: ClientOptions = { address: "127.0.0.1:1", verify: "off" };

test.each<[string, Partial<ClientOptions>, string]>([
  ["an address without a port", { address: "gateway" }, "OPTION_INVALID"],
  ["plain HTTP to another machine", { address: "http://gateway.example/v1" }, "OPTION_INVALID"],
  ["a password in the address", { address: "https://user:word@127.0.0.1/v1" }, "OPTION_INVALID"],
  ["nothing to trust", { verify: {} as never }, "OPTION_INVALID"],
  ["a certificate without its key", { tls: { cert: rootPem } }, "OPTION_INVALID"],
  ["an authority that is not there", { tls: { ca: "/nowhere/ca.crt" } }, "OPTION_INVALID"],
  ["no time at all", { timeoutMs: 0 }, "OPTION_INVALID"],
  ["endless retries", { maxRetries: 1_000 }, "OPTION_INVALID"],
  ["a bundle that is not there", { verify: { trustBundle: "/nowhere", trustRoot: rootPem } }, "TRUST_INVALID"],
  ["an expired bundle", { verify: { trustBundle: bundle(1, -1), trustRoot: rootPem } }, "TRUST_INVALID"],
  [
    "a bundle of another operator",
    { verify: { trustBundle: bundle(1), trustRoot: generateKeyPairSync("ed25519").publicKey } },
    "TRUST_INVALID",
  ],
  [
    "a private key as root",
    {
      verify: {
        trustBundle: bundle(1),
        trustRoot: root.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      },
    },
    "TRUST_INVALID",
  ],
])("%s is told before anything is sent", (_, more, reason) => {
  expect(() => createClient({ ...good, ...more })).toThrow(expect.objectContaining({ reason }));
});

test("a bundle that was replaced is read again; an older one is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-client-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "bundle.json");
  const put = (version: number, at: number) => {
    writeFileSync(path, bundle(version));
    utimesSync(path, at, at);
  };
  put(2, 1_000);
  const trust = trustSource({ trustBundle: path, trustRoot: root.publicKey });
  expect(trust().version).toBe(2);
  put(3, 2_000);
  expect(trust().version).toBe(3);
  put(2, 3_000);
  expect(trust).toThrow(expect.objectContaining({ reason: "TRUST_INVALID" }));
});

test("events are read across any cut of their bytes, and a broken one is an error", async () => {
  const bytes = new TextEncoder().encode(
    ': ping\n\ndata: {"a":"ü"}\n\ndata: {"b":\ndata: 2}\n\ndata: [DONE]\n\ndata: {"c":3}\n\n',
  );
  const cut = async function* (size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  };
  for (const size of [1, 2, 3, 7, 1_000])
    expect(await Array.fromAsync(readEvents(cut(size)))).toEqual([{ a: "ü" }, { b: 2 }]);
  const broken = async function* () {
    yield new TextEncoder().encode("data: {\n\n");
  };
  await expect(Array.fromAsync(readEvents(broken()))).rejects.toMatchObject({ reason: "MESSAGE_MALFORMED" });
});

test("Retry-After in seconds or as a date", () => {
  expect(retryAfterMs("3")).toBe(3_000);
  expect(retryAfterMs("Mon, 23 Nov 2026 15:00:10 GMT", Date.parse("2026-11-23T15:00:00Z"))).toBe(10_000);
  expect(retryAfterMs("Mon, 23 Nov 2026 15:00:00 GMT", Date.parse("2026-11-23T16:00:00Z"))).toBe(0);
  expect(retryAfterMs("soon")).toBeUndefined();
});

test("an answer that is not the platform's own is told by its status alone", () => {
  expect(fromHttpError(502, {}, "<html>bad gateway at 10.0.0.7</html>")).toMatchObject({
    code: "UNAVAILABLE",
    retryable: true,
  });
  expect(fromHttpError(502, {}, "<html>bad gateway at 10.0.0.7</html>").message).not.toContain("10.0.0.7");
  expect(fromHttpError(401, {}, "{}")).toMatchObject({ code: "UNAUTHENTICATED", retryable: false });
  expect(fromHttpError(418, {}, "")).toMatchObject({ code: "INTERNAL" });
});
