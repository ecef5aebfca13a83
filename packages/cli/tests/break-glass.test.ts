/** The break-glass command against a real bus on which nothing else runs: no governance, no database, no log. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeEnvelopeJson, encodeEnvelopeJson, signState, verifyState } from "@sallyport/attestation";
import { connectOperatorBus, type OperatorBus } from "@sallyport/runtime/break-glass";
import { createTestTrust, startTestNats, type TestNats } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { operatorPermissions } from "../../../infra/local/nats/permissions.ts";
import { makeHome, sallyport } from "./kit.ts";

let nats: TestNats;
let home: string;
let bus: OperatorBus;
const trust = createTestTrust();
const place = { bucket: "switches", key: "break-glass" };

beforeAll(async () => {
  nats = await startTestNats({ permissions: { operator: operatorPermissions() } });
  await nats.provision();
  home = makeHome({ nats: nats.url, issuer: "https://issuer.example" });
  const { bundleFile, rootFile } = trust.write(home);
  copyFileSync(rootFile, join(home, "root.pub"));
  expect(bundleFile).toBe(join(home, "trust.json"));
  const dir = join(home, "operator");
  mkdirSync(dir);
  const { cert, key, ca } = await nats.ca.tls("operator");
  const files = { "operator.crt": cert, "operator.key": key, "nats-operator.nk": nats.seed("operator") };
  for (const [name, contents] of Object.entries(files)) writeFileSync(join(dir, name), contents, { mode: 0o600 });
  copyFileSync(join(home, "operator.signing.pem"), join(dir, "break-glass.pem"));
  writeFileSync(join(home, "ca.crt"), ca);
  const [certText, keyText, caText] = [cert, key, ca].map(String) as [string, string, string];
  const tls = { cert: certText, key: keyText, ca: caText };
  bus = await connectOperatorBus({ url: nats.url, nkeySeed: nats.seed("operator"), tls, timeoutMs: 2_000 });
});
afterAll(async () => {
  await bus?.[Symbol.asyncDispose]();
  await nats?.[Symbol.asyncDispose]();
  if (home) rmSync(home, { recursive: true, force: true });
});

interface Signed {
  version: number;
  value: { switches: { id: string; kind: string; target: object; until?: string }[] };
}

/** As every reader takes it. */
async function stored(): Promise<Signed> {
  const entry = await bus.read();
  const expected = { ...place, minVersion: 1, now: new Date() };
  return verifyState(decodeEnvelopeJson(entry!.value), trust.trust, expected) as unknown as Signed;
}
const pause = (...args: string[]) => sallyport(home, "--json", "break-glass", "pause", ...args);

describe("break-glass pause", () => {
  test("puts a switch that readers believe, keeps what was there, and its versions rise", async () => {
    expect(await bus.read()).toBeUndefined();
    const first = await pause("--tenant", "acme");
    expect(first).toMatchObject({ exitCode: 0, err: "" });
    const { switch: made, version } = JSON.parse(first.out);
    expect(await stored()).toMatchObject({ version, value: { switches: [made] } });
    expect(made).toMatchObject({ kind: "pause", target: { scope: "tenant", tenant: "acme" } });

    const targets = [
      ["--everything"],
      ["--model", "pilot-text"],
      ["--identity", "acme:mallory", "--kind", "ban"],
      ["--credential", "0123456789abcdef", "--kind", "revocation", "--for", "7d"],
    ];
    for (const target of targets) expect(await pause(...target)).toMatchObject({ exitCode: 0 });
    const { value, version: last } = await stored();
    expect(last).toBeGreaterThan(version);
    expect(value.switches.map(({ kind, target }) => [kind, target])).toEqual([
      ["pause", { scope: "tenant", tenant: "acme" }],
      ["pause", { scope: "all" }],
      ["pause", { scope: "model", model: "pilot-text" }],
      ["ban", { scope: "identity", tenant: "acme", issuer: "https://issuer.example", subject: "mallory" }],
      ["revocation", { scope: "credential", credential: "0123456789abcdef" }],
    ]);
    expect(Date.parse(value.switches[4]!.until!)).toBeGreaterThan(Date.now() + 6 * 86_400_000);
    const listed = await sallyport(home, "--json", "break-glass", "list");
    expect(JSON.parse(listed.out)).toEqual({ version: last, switches: value.switches });
  });

  test("of two operators at the same time loses neither", async () => {
    const before = (await stored()).value.switches.length;
    const tenants = ["one", "two", "three"];
    const ran = await Promise.all(tenants.map((tenant) => pause("--tenant", tenant)));
    expect(ran.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    expect((await stored()).value.switches).toHaveLength(before + 3);
  });

  test("leaves out what its own time has ended", async () => {
    const { version, value } = await stored();
    const switches = value.switches.map((found) => ({ ...found, until: new Date(Date.now() - 1_000).toISOString() }));
    await put({ version: version + 1, value: { switches }, signer: trust.signer("switch") });
    await pause("--tenant", "fresh");
    expect((await stored()).value.switches.map(({ target }) => target)).toEqual([{ scope: "tenant", tenant: "fresh" }]);
  });

  test("stays above a version that readers remember, also from a clock that was ahead", async () => {
    const ahead = Date.now() + 3_600_000;
    await put({ version: ahead, value: { switches: [] }, signer: trust.signer("switch") });
    await pause("--tenant", "acme");
    expect((await stored()).version).toBe(ahead + 1);
  });

  test("replaces a value that no reader believes", async () => {
    const forged = { ...trust.signer("state"), stage: "switch" as const };
    await put({ version: 9e15, value: { switches: [] }, signer: forged });
    const { exitCode, err } = await sallyport(home, "break-glass", "pause", "--tenant", "acme");
    expect({ exitCode, err }).toMatchObject({ exitCode: 0, err: expect.stringContaining("WRONG_STAGE") });
    expect((await stored()).value.switches).toHaveLength(1);
  });

  test.each([
    ["whose version leaves no room", Number.MAX_SAFE_INTEGER, []],
    ["with a switch that could not be lifted", 1, [{ id: "i".repeat(129), kind: "pause", target: { scope: "all" } }]],
  ])("replaces a value of the operator's own key %s, as no reader takes it", async (_, version, switches) => {
    await put({ version, value: { switches }, signer: trust.signer("switch") });
    const listed = await sallyport(home, "--json", "break-glass", "list");
    expect(JSON.parse(listed.err).error.reason).toBe("FIELD_INVALID");
    const { exitCode, err } = await sallyport(home, "break-glass", "pause", "--tenant", "acme");
    expect({ exitCode, err }).toMatchObject({ exitCode: 0, err: expect.stringContaining("FIELD_INVALID") });
    expect((await stored()).value.switches.map(({ target }) => target)).toEqual([{ scope: "tenant", tenant: "acme" }]);
  });

  test("with a key that the trust bundle does not appoint puts nothing", async () => {
    const before = await bus.read();
    const { exitCode, err } = await pause("--everything", "--key", join(home, "governance.signing.pem"));
    expect({ exitCode, reason: JSON.parse(err).error.reason }).toEqual({ exitCode: 7, reason: "WRONG_STAGE" });
    expect(await bus.read()).toEqual(before);
    const noKey = await pause("--everything", "--key", join(home, "ca.crt"));
    expect(noKey.exitCode).toBe(2);
    expect(noKey.err).not.toContain(readFileSync(join(home, "operator", "nats-operator.nk"), "utf8").trim());
  });

  test.each([
    ["no target", []],
    ["two targets", ["--everything", "--tenant", "acme"]],
    ["a ban of a tenant", ["--tenant", "acme", "--kind", "ban"]],
    ["a revocation of a model", ["--model", "m", "--kind", "revocation"]],
    ["half an identity", ["--identity", "acme"]],
    ["a tenant that cannot be one", ["--tenant", "A B"]],
    ["a time without a unit", ["--everything", "--for", "30"]],
  ])("with %s is wrong usage", async (_, args) => {
    expect((await pause(...args)).exitCode).toBe(2);
  });

  test("without the bus says so, soon", async () => {
    await nats.kill();
    const begun = performance.now();
    const { exitCode, err } = await sallyport(home, "--json", "--timeout", "2", "break-glass", "pause", "--everything");
    expect({ exitCode, reason: JSON.parse(err).error.reason }).toEqual({ exitCode: 6, reason: "BUS_UNAVAILABLE" });
    expect(performance.now() - begun).toBeLessThan(6_000);
  });
});

async function put({ signer, ...state }: { version: number; value: object; signer: Parameters<typeof signState>[0] }) {
  const issuedAt = new Date().toISOString();
  const envelope = signState(signer, { ...place, issuedAt, version: state.version, value: state.value as never });
  await bus.put(Buffer.from(encodeEnvelopeJson(envelope)), await bus.read());
}
