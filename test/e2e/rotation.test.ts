import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { loadTrustBundle, verifyReleaseTicket } from "@sallyport/attestation";
import { rotate } from "@sallyport/infra/rotate";
import { rotationNames } from "@sallyport/infra/rotations";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bootPlatform, type Call, chatByGrpc, chatBySse, grpcClients, type TestPlatform } from "../kit/index.ts";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
beforeAll(async () => {
  sallyport = await bootPlatform("rotation");
  clients = grpcClients(sallyport.platform);
}, 120_000);
afterAll(async () => {
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
});

const ask = { content: "What is Sallyport?", maxTokens: 16 };
const within = { deadlineMs: 30_000 };

test("everything an installation is known by is replaced under load, and no request fails for it", async () => {
  const { home } = sallyport.platform;
  const file = (...path: string[]) => readFileSync(join(home.root, ...path), "utf8");
  const before = {
    ca: file("pki", "ca.crt"),
    certificate: file("pki", "gateway.crt"),
    seed: file("secrets", "nats-gateway.nk"),
    signing: file("keys", "post-moderator.signing.pem"),
    encryption: file("keys", "gateway.encryption.pem"),
    vault: file("secrets", "vault-master-key"),
  };
  const early = await chatByGrpc(sallyport, clients, { ...ask, idempotencyKey: "early" }, within).done;
  expect(early.state).toBe("released");

  const calls: Call[] = [];
  let loading = true;
  const caller = async (via: typeof chatByGrpc | undefined) => {
    while (loading) {
      const call = via ? via(sallyport, clients, ask, within) : chatBySse(sallyport, ask, within);
      calls.push(call);
      await call.done;
    }
  };
  const load = [caller(chatByGrpc), caller(chatByGrpc), caller(undefined)];
  const steps: string[] = [];
  await rotate(rotationNames, { home: home.root, report: (line) => steps.push(line) }).finally(() => {
    loading = false;
  });
  await Promise.all(load);

  const failed = calls.filter(({ state }) => state !== "released");
  expect(failed.map(({ error }) => error)).toEqual([]);
  expect(calls.length).toBeGreaterThan(20);
  console.log(`${calls.length} requests during ${steps.length} steps of rotation, ${failed.length} failed`);
  expect({
    ca: file("pki", "ca.crt"),
    certificate: file("pki", "gateway.crt"),
    seed: file("secrets", "nats-gateway.nk"),
    signing: file("keys", "post-moderator.signing.pem"),
    encryption: file("keys", "gateway.encryption.pem"),
    vault: file("secrets", "vault-master-key"),
  }).toSatisfy((after: typeof before) =>
    Object.entries(before).every(([name, value]) => after[name as keyof typeof before] !== value),
  );

  // The bus does not know the former key any more.
  const pki = (name: string) => join(home.pkiDir, name);
  const former = connect({
    servers: sallyport.platform.nats.url,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(before.seed.trim())),
    tls: { certFile: pki("gateway.crt"), keyFile: pki("gateway.key"), caFile: pki("ca.crt") },
    reconnect: false,
  });
  await expect(former).rejects.toThrow(/authorization/i);

  // What was made before is still read and verified.
  const again = await chatByGrpc(sallyport, clients, { ...ask, idempotencyKey: "early" }, within).done;
  expect(again.text).toBe(early.text);
  const { ticket } = await clients.generation.getRequest(
    { requestId: early.requestId! },
    { deadlineMs: 10_000, bearer: sallyport.token("user") },
  );
  const { trustBundle, trustRoot } = sallyport.platform.endpoints;
  const trust = loadTrustBundle(readFileSync(trustBundle), createPublicKey(readFileSync(trustRoot)), new Date());
  expect(verifyReleaseTicket(Buffer.from(ticket).toString(), trust).requestId).toBe(early.requestId);
  await waitFor("a receipt", () =>
    clients.generation
      .getReceipt({ requestId: early.requestId! }, { deadlineMs: 5_000, bearer: sallyport.token("user") })
      .then(() => true),
  );
}, 240_000);
