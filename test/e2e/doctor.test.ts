/** `sallyport status` and `sallyport doctor` on a running platform: sound first, then broken in one way after the other. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { run } from "@sallyport/cli";
import { waitFor } from "@sallyport/runtime/testing";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PROVISIONER } from "../../infra/local/nats/permissions.ts";
import { connectionOptions } from "../../infra/local/nats/provisioner.ts";
import { SUPERUSER } from "../../infra/local/postgres/cluster.ts";
import { sessionOptions } from "../../infra/local/postgres/grants.ts";
import { bootPlatform, model, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
beforeAll(async () => {
  sallyport = await bootPlatform("doctor");
  await sallyport.openai().chat.completions.create({ model, messages: [{ role: "user", content: "What is bread?" }] });
}, 180_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

interface Told {
  check: string;
  level: string;
  what: string;
}

async function command(name: string): Promise<{ exitCode: number; value: Record<string, unknown>; text: string }> {
  const ask = async (...args: string[]) => {
    let out = "";
    const io = {
      out: (text: string) => {
        out += text;
      },
      err: () => {},
      readIn: async () => "",
      env: {},
      signal: new AbortController().signal,
    };
    return { exitCode: await run(["--home", sallyport.platform.home.root, name, ...args], io), out };
  };
  const [{ out: text }, { exitCode, out }] = [await ask(), await ask("--json")];
  return { exitCode, value: JSON.parse(out), text };
}

async function faults(): Promise<{ exitCode: number; found: Told[] }> {
  const { exitCode, value } = await command("doctor");
  return { exitCode, found: (value.findings as Told[]).filter(({ level }) => level === "fail") };
}

async function asOwner(sql: string): Promise<void> {
  const { home, ports } = sallyport.platform;
  const session = new pg.Client(sessionOptions(home, ports.postgres, SUPERUSER));
  await session.connect();
  await session.query(sql).finally(() => session.end());
}

test("a sound platform: doctor finds nothing to mend, and warns of the chamber of a laptop", async () => {
  const { exitCode, value, text } = await command("doctor");
  const findings = value.findings as Told[];
  expect(findings.filter(({ level }) => level !== "ok").map(({ check, level }) => `${check} ${level}`)).toEqual([
    "chamber warn",
  ]);
  expect(exitCode).toBe(0);
  for (const check of [
    "permissions",
    "certificates",
    "trust bundle",
    "keys",
    "ports",
    "services",
    "clocks",
    "bus",
    "streams",
    "database",
    "schemas",
    "issuer",
    "models",
    "log",
  ])
    expect(findings.map((finding) => finding.check)).toContain(check);
  expect(text).toContain("nothing stops it from opening a connection");
  expect(findings.find(({ check }) => check === "log")!.what).toMatch(/^\d+ records add up to the head/);
});

test("status tells health, queues, log, versions, digests and what it could not learn", async () => {
  const { exitCode, value, text } = await command("status");
  expect(exitCode).toBe(0);
  expect(value).toMatchObject({
    ready: true,
    models: [{ name: model, digest: expect.stringMatching(/^[0-9a-f]{64}$/) }],
  });
  expect(value.services).toHaveLength(7);
  expect(value.policyDigest).toMatch(/^[0-9a-f]{64}$/);
  expect(value.checkpoint).toMatchObject({ size: expect.any(Number), ageSeconds: expect.any(Number) });
  expect(value.trustBundle).toMatchObject({ version: 1 });
  expect(text).toMatch(/gateway +ready +\d+\.\d+\.\d+ +\d+ MiB/);
  expect(text).toMatch(
    /log +\d+ records, signed \d+ s ago\n +head of sallyport\.local\/log over \d+ records, newest \d+ s ago/,
  );
});

describe("each of these is found, by name", () => {
  test.each<[string, string, RegExp, () => Promise<void>, () => Promise<void>]>([
    [
      "a neighbour who may read the log's tables",
      "schemas",
      /gateway may use the schema of audit/,
      () => asOwner("GRANT USAGE ON SCHEMA audit TO gateway"),
      () => asOwner("REVOKE USAGE ON SCHEMA audit FROM gateway"),
    ],
    [
      "a role that may make databases",
      "schemas",
      /role governance may do more/,
      () => asOwner("ALTER ROLE governance CREATEDB"),
      () => asOwner("ALTER ROLE governance NOCREATEDB"),
    ],
    [
      "a stream that forgets too soon",
      "streams",
      /stream HELD: max_age is 1200000000000, not 86400000000000/,
      () => keepHeld(20 * 60_000),
      () => keepHeld(24 * 3_600_000),
    ],
    ["a model file that was altered", "models", /is not what its name says/, () => turnByte(), () => turnByte()],
    [
      "a record of the log that was rewritten",
      "log",
      /do not add up to the head/,
      () => rewrite("request.released", "request.releasee"),
      () => rewrite("request.releasee", "request.released"),
    ],
  ])("%s", async (_, check, what, damage, mend) => {
    await damage();
    try {
      const { exitCode, found } = await faults();
      expect(found.map(({ check }) => check)).toEqual([check]);
      expect(found[0]!.what).toMatch(what);
      expect(exitCode).toBe(1);
    } finally {
      await mend();
    }
    expect((await faults()).found).toEqual([]);
  });

  test("a service, the issuer and the bus that are down", async () => {
    const { platform } = sallyport;
    await Promise.all([platform.service("watermarker").stop(), platform.issuer.stop(), platform.nats.stop()]);
    await waitFor("the gateway to notice", async () => {
      const { value } = await command("status");
      return JSON.stringify(value.services).includes("disconnected");
    });
    const { found } = await faults();
    expect(new Set(found.map(({ check }) => check))).toEqual(new Set(["services", "issuer", "bus"]));
    expect(found.map(({ what }) => what).join("\n")).toMatch(/watermarker is not ready: no answer/);
    const status = await command("status");
    expect(status.exitCode).toBe(6);
    expect(status.text).toMatch(/watermarker +unreachable/);
    await Promise.all([platform.nats.start(), platform.issuer.start(), platform.service("watermarker").start()]);
    await waitFor("everything to be well again", async () => (await faults()).found.length === 0, {
      timeoutMs: 30_000,
      everyMs: 500,
    });
  });
});

async function keepHeld(maxAgeMs: number): Promise<void> {
  const { home, ports } = sallyport.platform;
  const nc = await connect(connectionOptions(home, ports.nats, PROVISIONER));
  try {
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const { config } = await jsm.streams.info("HELD");
    await jsm.streams.update("HELD", { ...config, max_age: maxAgeMs * 1_000_000 });
  } finally {
    await nc.close();
  }
}

async function turnByte(): Promise<void> {
  const dir = join(sallyport.platform.home.modelsDir, "sha256");
  const file = join(dir, readdirSync(dir).find((name) => /^[0-9a-f]{64}$/.test(name))!);
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
}

function rewrite(from: string, to: string): Promise<void> {
  const hex = (text: string) => Buffer.from(text).toString("hex");
  // Past the trigger that keeps the log append-only: a superuser can.
  return asOwner(
    `SET session_replication_role = replica; UPDATE audit.records SET json = decode(replace(encode(json, 'hex'), '${hex(from)}', '${hex(to)}'), 'hex')`,
  );
}
