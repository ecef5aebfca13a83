import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSigner, createTrustBundle, keyIdOf, type TrustContents } from "@sallyport/attestation";
import { WatermarkService } from "@sallyport/proto/sallyport/watermark/v1/watermark";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { createClient, createLogger } from "@sallyport/runtime";
import { publishSwitches, startTestNats, type TestNats, waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { allowedCallers } from "../../../infra/flows.ts";
import { servicePermissions } from "../../../infra/local/nats/permissions.ts";
import { readConfig } from "../src/config.ts";
import { fromConfig } from "../src/context.ts";
import { type Service, startService } from "../src/service.ts";

const hourMs = 3_600_000;
const image = { image: new Uint8Array([0x89, 0x50, 0x4e, 0x47]), deep: true };
const log = createLogger("watermarker", "error");
const stop = new AbortController();
const stateKey = generateKeyPairSync("ed25519").privateKey;
let dir: string;
let nats: TestNats;
let service: Service;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "sallyport-watermarker-"));
  nats = await startTestNats({ permissions: { watermarker: servicePermissions("watermarker", "gw-0") } });
  await nats.provision();
  service = await startService(await fromConfig(readConfig(await environment()), stop.signal, { log }), stop.signal);
});
afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await nats?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const pem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }) as string;

/** Environment of a watermarker whose key the trust bundle appoints for `stage`. */
async function environment(stage: TrustContents["keys"][number]["stages"][number] = "watermarker") {
  const write = (name: string, contents: string | Uint8Array) => {
    writeFileSync(join(dir, `${stage}-${name}`), contents, { mode: 0o600 });
    return join(dir, `${stage}-${name}`);
  };
  const key = generateKeyPairSync("ed25519").privateKey;
  const root = generateKeyPairSync("ed25519").privateKey;
  const { certFile, keyFile, caFile } = await nats.ca.issue("watermarker");
  return {
    HEALTH_ADDRESS: "127.0.0.1:0",
    GRPC_ADDRESS: "127.0.0.1:0",
    TLS_CERT_FILE: certFile,
    TLS_KEY_FILE: keyFile,
    TLS_CA_FILE: caFile,
    SIGNING_KEY_FILE: write("signing.pem", pem(key)),
    ENCRYPTION_KEY_FILE: write("encryption.pem", pem(generateKeyPairSync("x25519").privateKey)),
    TRUST_BUNDLE_FILE: write("bundle.json", createTrustBundle(contentsOf(key, stage), root)),
    TRUST_ROOT_FILE: write("root.pub", createPublicKey(root).export({ type: "spki", format: "pem" }) as string),
    NATS_URL: nats.url,
    NATS_NKEY_FILE: write("nkey", nats.seed("watermarker")),
  };
}

function contentsOf(key: KeyObject, stage: TrustContents["keys"][number]["stages"][number]): TrustContents {
  const publicKey = createPublicKey(key);
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const [notBefore, notAfter] = [at(-hourMs), at(hourMs)];
  const der = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const entry = { keyid: keyIdOf(publicKey), service: "watermarker", stages: [stage], publicKey: der };
  const state = createPublicKey(stateKey);
  const stateDer = state.export({ type: "spki", format: "der" }).toString("base64");
  const governance = { keyid: keyIdOf(state), service: "governance", stages: ["state" as const], publicKey: stateDer };
  const keys = [entry, governance].map((key) => ({ ...key, notBefore, notAfter }));
  return { version: 1, issuedAt: at(-1_000), expiresAt: notAfter, keys, encryption: [], logs: [] };
}

async function detectAs(caller: ServiceName) {
  const tls = await nats.ca.tls(caller);
  const client = createClient(WatermarkService, { address: service.grpc, tls, serverName: "watermarker" });
  try {
    return await client.detect(image, { deadlineMs: 5_000 });
  } finally {
    client.close();
  }
}

const ready = async () => {
  const response = await fetch(`http://127.0.0.1:${service.health.port}/readyz`);
  return { status: response.status, body: (await response.json()) as { checks: Record<string, string> } };
};

describe("Detect", () => {
  test("says that there is no image support, not that there is no mark", async () => {
    await expect(detectAs("gateway")).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "IMAGES_NOT_SUPPORTED",
    });
  });

  test("answers those that the table of flows allows, and nobody else", async () => {
    const allowed = allowedCallers("watermarker", WatermarkService.typeName);
    expect(allowed).toEqual(["gateway"]);
    for (const caller of services.filter((name) => !allowed.includes(name))) {
      await expect(detectAs(caller), caller).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
  });
});

describe("health", () => {
  test("is ready with keys, trust, switches and bus, not while the bus is away, and again once it is back", async () => {
    expect(await ready()).toMatchObject({ status: 503, body: { checks: { switches: "stale" } } });
    await using governance = await nats.bus("governance", log);
    await publishSwitches(governance, createSigner(stateKey, "state"));
    await waitFor("ready", async () => (await ready()).status === 200);
    expect(await ready()).toMatchObject({ body: { checks: { bus: "ok", trust: "ok", switches: "ok" } } });
    await nats.kill();
    await waitFor("not ready", async () => (await ready()).status === 503);
    expect((await ready()).body.checks).toMatchObject({ bus: "disconnected" });
    await nats.start();
    await waitFor("ready again", async () => (await ready()).status === 200);
  });
});

describe("a start that is refused", () => {
  test("without keys, naming every variable that is missing", async () => {
    const { SIGNING_KEY_FILE: _, ENCRYPTION_KEY_FILE: __, ...rest } = await environment();
    expect(() => readConfig(rest)).toThrow(/SIGNING_KEY_FILE.*ENCRYPTION_KEY_FILE/s);
  });

  test("with a file that is no signing key", async () => {
    const env = await environment();
    const config = readConfig({ ...env, SIGNING_KEY_FILE: env.ENCRYPTION_KEY_FILE });
    await expect(fromConfig(config, stop.signal, { log })).rejects.toMatchObject({ reason: "KEY_INVALID" });
  });

  test("with a key that is appointed for another stage", async () => {
    const config = readConfig(await environment("door2"));
    await expect(fromConfig(config, stop.signal, { log })).rejects.toMatchObject({ code: "WRONG_STAGE" });
  });
});
