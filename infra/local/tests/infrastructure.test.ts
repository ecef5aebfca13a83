import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { ServiceName } from "@sallyport/proto/subjects";
import { buckets, streams, subjects } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { createRemoteJWKSet, jwtVerify } from "jose";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { API_RESOURCE, readClients } from "../dev-issuer/clients.ts";
import { tokenFile } from "../dev-issuer/tokens.ts";
import { connectionOptions } from "../nats/provisioner.ts";
import { type Platform, startPlatform } from "../platform.ts";
import { assertPortsFree, portsFrom } from "../ports.ts";
import { sessionOptions } from "../postgres/grants.ts";
import { HomeInUse } from "../process/lock.ts";

const PORT_BASE = 27_100;
const patient = { timeoutMs: 30_000 };
let home: string;
let platform: Platform;
const lines: string[] = [];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "sallyport-infra-"));
  platform = await startPlatform({ home, portBase: PORT_BASE, services: [], log: (line) => lines.push(line) });
}, 240_000);
afterAll(async () => {
  await platform?.stop();
  rmSync(home, { recursive: true, force: true });
});

async function asUser<T>(user: ServiceName, use: (nc: NatsConnection) => Promise<T>): Promise<T> {
  const nc = await connect({ ...connectionOptions(platform.home, platform.ports.nats, user), reconnect: false });
  try {
    return await use(nc);
  } finally {
    await nc.close();
  }
}

/** "done", or what the server said against it. A request without an answer is not a refusal. */
async function outcome(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (error: Error) => (error.cause instanceof Error ? error.cause.name : error.name),
  );
}

describe("the bus", () => {
  const request = (user: ServiceName, subject: string, body = "") =>
    outcome(asUser(user, (nc) => nc.request(subject, body, { timeout: 2_000 })));
  const refused = "PermissionViolationError";

  test("has every declared stream, consumer and bucket", async () => {
    const names = await asUser("provisioner" as ServiceName, async (nc) => {
      const jsm = await jetstreamManager(nc, { checkAPI: false });
      for (const { name, consumers } of Object.values(streams)) {
        for (const consumer of consumers) await jsm.consumers.info(name, consumer.name);
      }
      return jsm.streams.names().next();
    });
    const wanted = [...Object.keys(streams), ...Object.keys(buckets).map((bucket) => `KV_${bucket}`)];
    expect(names.sort()).toEqual(wanted.sort());
  });

  test("delivers what comes after its newest messages were lost in a power cut", async () => {
    const [{ name }] = streams.DECISIONS.consumers;
    const send = (id: string) =>
      asUser("governance", (nc) => nc.request(subjects.decision(id), "x", { timeout: 5_000 }));
    const next = async () => {
      const take = `$JS.API.CONSUMER.MSG.NEXT.DECISIONS.${name}`;
      return asUser("gateway", async (nc) => {
        const inbox = nc.subscribe("_INBOX_gateway.next", { max: 1, timeout: 5_000 });
        nc.publish(take, JSON.stringify({ batch: 1, expires: 4_000_000_000 }), { reply: "_INBOX_gateway.next" });
        for await (const message of inbox) {
          await nc.request(message.reply!, "+ACK", { timeout: 2_000 });
          return message.subject;
        }
        return undefined;
      });
    };
    for (const id of ["before-1", "before-2"]) {
      await send(id);
      expect(await next()).toBe(subjects.decision(id));
    }
    const { nats } = platform;
    nats.kill("SIGKILL");
    await nats.stop();
    for (const entry of readdirSync(nats.storeDir, { recursive: true, encoding: "utf8" })) {
      // What the stream holds, not what its consumers remember.
      if (/streams\/DECISIONS\/msgs\/[^/]+$/.test(entry)) rmSync(join(nats.storeDir, entry));
    }
    await nats.start();
    await send("after-1");
    expect(await next()).toBe(subjects.decision("after-1"));
  }, 60_000);

  test("takes from the worker what the worker may write, and no verdict, job, audit event or state", async () => {
    expect(await request("inference-worker", subjects.window("r1"), "x")).toBe("done");
    const forbidden = [
      subjects.verdict("gw-0", "r1"),
      subjects.job("pilot-text", "r1"),
      subjects.audit("gateway", "request.released"),
      subjects.decision("r1"),
      "$KV.models.manifest",
      "$KV.policy.active",
    ];
    for (const subject of forbidden)
      expect(`${subject} ${await request("inference-worker", subject)}`).toBe(`${subject} ${refused}`);
  });

  test("lets the worker read no stream but its own, make no consumer elsewhere and delete nothing", async () => {
    const forbidden = [
      "$JS.API.CONSUMER.MSG.NEXT.VERDICTS.gateway-gw-0",
      "$JS.API.CONSUMER.MSG.NEXT.AUDIT.audit",
      "$JS.API.CONSUMER.CREATE.AUDIT.mine.audit.*.*",
      "$JS.API.DIRECT.GET.WINDOWS",
      "$JS.API.STREAM.MSG.GET.HELD",
      "$JS.API.STREAM.PURGE.JOBS",
      "$JS.API.STREAM.DELETE.AUDIT",
      "$JS.API.STREAM.NAMES",
    ];
    for (const subject of forbidden)
      expect(`${subject} ${await request("inference-worker", subject)}`).toBe(`${subject} ${refused}`);
  });

  test("lets nobody listen to another service's replies or to a stream's subjects as they pass", async () => {
    const listen = (user: ServiceName, subject: string) =>
      asUser(user, async (nc) => {
        const refusal = new Promise<string>((resolve) =>
          nc.subscribe(subject, { callback: (error) => resolve(error?.name ?? "message") }),
        );
        const flushed = nc.flush().then(() => new Promise<string>((resolve) => setTimeout(resolve, 200, "open")));
        return Promise.race([refusal, flushed]);
      });
    expect(await listen("gateway", "_INBOX_gateway.x")).toBe("open");
    for (const subject of ["_INBOX_gateway.>", "verdicts.>", "jobs.>", ">", "$JS.API.>"]) {
      expect(`${subject} ${await listen("inference-worker", subject)}`).toBe(`${subject} ${refused}`);
    }
  });

  test("lets the watermarker, which has no flow to write, publish nothing at all", async () => {
    for (const subject of ["anything", subjects.verdict("gw-0", "r1"), "$JS.API.INFO"]) {
      expect(`${subject} ${await request("watermarker", subject)}`).toBe(`${subject} ${refused}`);
    }
  });

  test("lets no service speak as another producer of audit events", async () => {
    expect(await request("governance", subjects.audit("governance", "model.imported"), "x")).toBe("done");
    expect(await request("governance", subjects.audit("gateway", "request.released"), "x")).toBe(refused);
  });

  test("knows no connection without client certificate, or without a seed", async () => {
    const { tls, authenticator, ...rest } = connectionOptions(platform.home, platform.ports.nats, "gateway");
    const withoutCertificate = connect({ ...rest, authenticator, tls: { caFile: tls.caFile }, reconnect: false });
    expect(await outcome(withoutCertificate)).not.toBe("done");
    expect(await outcome(connect({ ...rest, tls, reconnect: false }))).not.toBe("done");
    expect(await outcome(connect({ ...rest, tls, authenticator, reconnect: false }).then((nc) => nc.close()))).toBe(
      "done",
    );
  });

  test("is complete again after kill -9 and the loss of its files", async () => {
    await platform.nats.wipe();
    expect(await request("inference-worker", subjects.window("r2"), "x")).toBe("done");
    platform.nats.kill("SIGKILL");
    await waitFor(
      "a new server",
      async () => (await request("inference-worker", subjects.window("r3"), "x")) === "done",
      patient,
    );
  });

  test("is complete again after its files were taken away while it ran", async () => {
    const before = platform.nats.pid;
    rmSync(platform.nats.storeDir, { recursive: true, force: true });
    await waitFor(
      "another server",
      async () => platform.nats.pid !== undefined && platform.nats.pid !== before,
      patient,
    );
    await platform.nats.whenReady();
    expect(existsSync(join(platform.nats.storeDir, "jetstream"))).toBe(true);
  }, 60_000);
});

describe("Postgres", () => {
  const options = (role: string) => sessionOptions(platform.home, platform.ports.postgres, role);
  const query = async (config: pg.ClientConfig, sql: string) => {
    const session = new pg.Client(config);
    session.on("error", () => {});
    await session.connect();
    try {
      return (await session.query(sql)).rows as Record<string, unknown>[];
    } finally {
      await session.end();
    }
  };

  test("gives each service with state its own schema as search path", async () => {
    for (const role of ["gateway", "audit", "governance"]) {
      const rows = await query(options(role), "SELECT current_schema() AS schema");
      expect(rows).toEqual([{ schema: role }]);
    }
  });

  test("refuses plaintext, a wrong password, and services without a role", async () => {
    await expect(query({ ...options("gateway"), ssl: false }, "SELECT 1")).rejects.toThrow(/no encryption/);
    await expect(query({ ...options("gateway"), password: "wrong" }, "SELECT 1")).rejects.toThrow(
      /password authentication failed/,
    );
    await expect(query({ ...options("gateway"), user: "inference-worker" }, "SELECT 1")).rejects.toThrow(
      /authentication failed/,
    );
  });

  test("shows no role another's schema, and lets none make objects in public or databases", async () => {
    await query(options("gateway"), "CREATE TABLE mine (x int)");
    await expect(query(options("audit"), "SELECT * FROM gateway.mine")).rejects.toThrow(
      /permission denied for schema gateway/,
    );
    await expect(query(options("audit"), "CREATE TABLE public.mine (x int)")).rejects.toThrow(
      /permission denied for schema public/,
    );
    await expect(query(options("audit"), "CREATE DATABASE mine")).rejects.toThrow(/permission denied/);
    await expect(query(options("audit"), "COPY gateway.mine TO PROGRAM 'true'")).rejects.toThrow(/permission denied/);
  });

  test("keeps what was committed through kill -9, and comes back by itself", async () => {
    await query(options("gateway"), "CREATE TABLE kept AS SELECT 42 AS x");
    platform.postgres.kill("SIGKILL");
    await waitFor(
      "a new Postgres",
      async () => (await query(options("gateway"), "SELECT x FROM kept"))[0]?.x === 42,
      patient,
    );
  });

  test("has durable settings", async () => {
    const rows = await query(
      options("gateway"),
      "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name",
    );
    expect(rows.map(({ setting }) => setting)).toEqual(["on", "on", "on"]);
  });
});

describe("the dev issuer", () => {
  const keys = () => createRemoteJWKSet(new URL(`${platform.endpoints.issuer}/jwks`));

  test("gives every person a token for the platform's API, with tenant and groups, in a file for its owner alone", async () => {
    const platformGroup = "sallyport-platform";
    for (const [name, tenant, ...groups] of [
      ["user", "demo", "sallyport-users"],
      ["reviewer", "demo", "sallyport-reviewers", platformGroup],
      ["operator", "demo", "sallyport-operators", platformGroup],
      ["auditor", "demo", "sallyport-auditors", platformGroup],
      ["outsider", "other", "sallyport-users"],
    ] as const) {
      expect(statSync(tokenFile(platform.home, name)).mode & 0o777).toBe(0o600);
      const options = { issuer: platform.endpoints.issuer, audience: API_RESOURCE, algorithms: ["ES256"] };
      const { payload } = await jwtVerify(platform.token(name), keys(), options);
      expect(payload).toMatchObject({ sub: name, tenant, groups });
    }
  });

  test("gives none for another resource, and none for a wrong secret", async () => {
    const [client] = readClients(join(platform.home.issuerDir, "clients.json"));
    const ask = (secret: string, resource: string) =>
      fetch(`${platform.endpoints.issuer}/token`, {
        method: "POST",
        headers: { authorization: `Basic ${Buffer.from(`${client!.id}:${secret}`).toString("base64")}` },
        body: new URLSearchParams({ grant_type: "client_credentials", resource, scope: "api" }),
      });
    expect((await ask(client!.secret, API_RESOURCE)).status).toBe(200);
    expect((await ask(client!.secret, "https://elsewhere.example/api")).status).toBe(400);
    expect((await ask("wrong", API_RESOURCE)).status).toBe(401);
  });

  test("keeps its keys over a restart", async () => {
    const token = platform.token("user");
    await platform.issuer.restart();
    await expect(jwtVerify(token, keys())).resolves.toBeDefined();
  });
});

describe("one home, one platform", () => {
  test("a second start on the same home is told so", async () => {
    await expect(startPlatform({ home, portBase: PORT_BASE, services: [] })).rejects.toThrow(HomeInUse);
  });

  test("a taken port is named, with what to do", async () => {
    const server = createServer().listen(PORT_BASE + 103, "127.0.0.1");
    const ports = portsFrom(PORT_BASE + 100);
    await expect(assertPortsFree(ports)).rejects.toThrow(/port 27203 \(auditGrpc\) is taken.*--port-base/);
    server.close();
    await waitFor("a free port", () => assertPortsFree(ports).then(() => true), patient);
    expect(() => portsFrom(80)).toThrow(/--port-base/);
  });

  test("secrets are for their owner alone and appear in no log", () => {
    const secret = readFileSync(join(platform.home.secretsDir, "postgres-gateway"), "utf8").trim();
    expect(statSync(join(platform.home.secretsDir, "postgres-gateway")).mode & 0o777).toBe(0o600);
    const logs = ["postgres", "nats", "issuer"].map((name) =>
      readFileSync(join(platform.home.logsDir, `${name}.jsonl`), "utf8"),
    );
    const told = [...logs, ...lines].join("\n");
    expect(told.length).toBeGreaterThan(1_000);
    expect(told).not.toContain(secret);
    expect(told).not.toContain(platform.token("user"));
  });
});
