import { PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient, type GrpcServer, serve, type TlsMaterial } from "../src/index.ts";
import { createTestPki } from "../testing/index.ts";
import { localhost, log, pki } from "./grpc-kit.ts";

const soon = { deadlineMs: 3_000 };
let server: GrpcServer;
beforeAll(async () => {
  server = await serve(
    [
      {
        service: PreModerationService,
        handlers: {
          judgeRequest: async (_request, { peer }) => ({ policyDigest: `${peer}` }),
          judgeTexts: async () => ({}),
        },
      },
    ],
    {
      address: localhost,
      tls: await pki.issue("pre-moderator"),
      mutual: { allowedCallers: (name) => (name === PreModerationService.typeName ? ["gateway"] : []) },
      log,
    },
  );
});
afterAll(() => server[Symbol.asyncDispose]());

async function call(
  tls: { ca: Buffer; cert?: Buffer; key?: Buffer },
  serverName: "pre-moderator" | "audit" = "pre-moderator",
) {
  const client = createClient(PreModerationService, { address: server.address, tls, serverName });
  try {
    return (await client.judgeRequest({}, soon)).policyDigest;
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as { reason: string }).reason}`;
  } finally {
    client.close();
  }
}

test("the allowed service is let in, known by its certificate", async () => {
  expect(await call(await pki.issue("gateway"))).toBe("gateway");
});

test.each(["inference-worker", "audit", "pre-moderator", "nobody"])("%s may not call", async (service) => {
  expect(await call(await pki.issue(service))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
});

test.each([
  ["no SPIFFE id", []],
  ["two SPIFFE ids", ["spiffe://sallyport.local/gateway", "spiffe://sallyport.local/audit"]],
  ["the allowed id twice", ["spiffe://sallyport.local/gateway", "spiffe://sallyport.local/gateway"]],
  ["another trust domain", ["spiffe://example.org/gateway"]],
  ["a path below the id", ["spiffe://sallyport.local/gateway/x"]],
  ["a name with the id after a comma", ["https://a, URI:spiffe://sallyport.local/gateway"]],
])("a certificate with %s may not call", async (_what, uris) => {
  expect(await call(await pki.issue("gateway", { uris }))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
});

test("without a certificate, with one of another CA or an expired one, there is no connection", async () => {
  const foreign: TlsMaterial = await (await createTestPki()).issue("gateway");
  expect(await call({ ca: pki.ca })).toMatch(/^UNAVAILABLE/);
  expect(await call({ ...foreign, ca: pki.ca })).toMatch(/^UNAVAILABLE/);
  expect(await call(await pki.issue("gateway", { expired: true }))).toMatch(/^UNAVAILABLE/);
  expect(await call(await pki.issue("gateway"))).toBe("gateway");
});

test("a client refuses a server that is another service, or of another CA", async () => {
  const gateway = await pki.issue("gateway");
  expect(await call(gateway, "audit")).toMatch(/^UNAVAILABLE/);
  expect(await call({ ...gateway, ca: (await createTestPki()).ca })).toMatch(/^UNAVAILABLE/);
});

test("without a service name the server is checked by its address", async () => {
  const tls = await pki.issue("gateway");
  const good = createClient(PreModerationService, { address: server.address, tls });
  const other = createClient(PreModerationService, { address: { ...server.address, host: "127.0.0.2" }, tls });
  expect((await good.judgeRequest({}, soon)).policyDigest).toBe("gateway");
  await expect(other.judgeRequest({}, soon)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  good.close();
  other.close();
});
