/** Who may call which internal gRPC service, on the running services: the callers of infra/flows.ts, by their certificates. */
import { readFileSync } from "node:fs";
import type { DescService } from "@bufbuild/protobuf";
import { allowedCallers } from "@sallyport/infra/flows";
import { AuditService, ReceiptService, VaultService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { PostModerationService, PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { WatermarkService } from "@sallyport/proto/sallyport/watermark/v1/watermark";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { createClient, parseAddress } from "@sallyport/runtime";
import { createTestPki } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificateFiles } from "../../infra/local/pki.ts";
import { bootPlatform, type TestPlatform } from "../kit/index.ts";

type Endpoints = TestPlatform["platform"]["endpoints"];
interface Door {
  server: ServiceName;
  service: DescService;
  address: keyof Endpoints;
}

const internal: Door[] = [
  { server: "pre-moderator", service: PreModerationService, address: "preModeratorGrpc" },
  { server: "post-moderator", service: PostModerationService, address: "postModeratorGrpc" },
  { server: "watermarker", service: WatermarkService, address: "watermarkerGrpc" },
  { server: "audit", service: ReceiptService, address: "auditInternalGrpc" },
  { server: "audit", service: VaultService, address: "auditInternalGrpc" },
];
const behindTokens: Door[] = [
  { server: "governance", service: ModelService, address: "governanceGrpc" },
  { server: "governance", service: ReviewService, address: "governanceGrpc" },
  { server: "audit", service: AuditService, address: "auditGrpc" },
];

let sallyport: TestPlatform;
beforeAll(async () => {
  const serving = [...new Set([...internal, ...behindTokens].map(({ server }) => server))];
  sallyport = await bootPlatform("mutual", { services: serving });
}, 120_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

interface Tls {
  ca: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

function certificateOf(service: ServiceName): Required<Tls> {
  const { cert, key, ca } = certificateFiles(sallyport.platform.home, service);
  return { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
}

/** The first unary method with an empty request: what matters is whether the door opens, not what is said behind it. */
async function knock({ service, address, server }: Door, tls: Tls, expected: ServiceName = server): Promise<string> {
  const target = parseAddress(sallyport.platform.endpoints[address] as string);
  const client = createClient(service, { address: target, tls, serverName: expected });
  const method = service.methods.find(({ methodKind }) => methodKind === "unary")!.localName;
  type Call = (request: object, options: { deadlineMs: number }) => Promise<unknown>;
  try {
    await (client as unknown as Record<string, Call>)[method]!({}, { deadlineMs: 5_000 });
    return "answered";
  } catch (error) {
    const { code, reason } = error as { code: string; reason: string };
    return `${code} ${reason}`;
  } finally {
    client.close();
  }
}

const refused = "PERMISSION_DENIED CALLER_NOT_ALLOWED";
const matrix = internal.flatMap((door) =>
  services.map((caller) => {
    const allowed = allowedCallers(door.server, door.service.typeName).includes(caller);
    return { ...door, name: door.service.typeName, caller, allowed };
  }),
);

describe("a service is called by those that the table names, and by nobody else", () => {
  test.each(matrix)("$caller calls $name: $allowed", async ({ caller, allowed, ...door }) => {
    const answer = await knock(door, certificateOf(caller));
    if (allowed) expect(answer).toMatch(/^(answered|INVALID_ARGUMENT|NOT_FOUND|FAILED_PRECONDITION)/);
    else expect(answer).toBe(refused);
  });

  test("the table opens every internal service to somebody, and none to everybody", () => {
    for (const { server, service } of internal) {
      const callers = allowedCallers(server, service.typeName);
      expect(callers.length, service.typeName).toBeGreaterThan(0);
      expect(callers.length, service.typeName).toBeLessThan(services.length - 1);
    }
  });
});

describe.each(internal)("$service.typeName", (door) => {
  const caller = () => allowedCallers(door.server, door.service.typeName)[0]!;

  test("has no connection without a certificate", async () => {
    expect(await knock(door, { ca: certificateOf(caller()).ca })).toMatch(/^UNAVAILABLE/);
  });

  test("has no connection for another CA's certificate with the right name, or half of a right one", async () => {
    const { ca, cert } = certificateOf(caller());
    const foreign = await (await createTestPki()).issue(caller());
    expect(await knock(door, { ...foreign, ca })).toMatch(/^UNAVAILABLE/);
    // A stolen certificate without its key cannot even be presented.
    await expect(async () => knock(door, { ca, cert, key: foreign.key })).rejects.toThrow(/key values mismatch/);
  });

  test("is not taken for another service by its callers", async () => {
    const tls = certificateOf(caller());
    const other = services.find((service) => service !== door.server)!;
    expect(await knock(door, tls, other)).toMatch(/^UNAVAILABLE/);
    expect(await knock(door, { ...tls, ca: (await createTestPki()).ca })).toMatch(/^UNAVAILABLE/);
  });
});

describe("a certificate opens nothing that asks for a person's token", () => {
  const asService = behindTokens.flatMap((door) =>
    services.map((caller) => ({ ...door, name: door.service.typeName, caller })),
  );
  test.each(asService)("$caller's certificate at $name", async ({ caller, ...door }) => {
    expect(await knock(door, certificateOf(caller))).toMatch(/^UNAUTHENTICATED/);
  });

  test("what is internal is not served where tokens are", async () => {
    for (const service of [ReceiptService, VaultService]) {
      const door: Door = { server: "audit", service, address: "auditGrpc" };
      expect(await knock(door, certificateOf("governance"))).not.toMatch(/^(answered|INVALID_ARGUMENT|NOT_FOUND)/);
    }
    const door: Door = { server: "audit", service: AuditService, address: "auditInternalGrpc" };
    expect(await knock(door, certificateOf("gateway"))).not.toMatch(/^(answered|INVALID_ARGUMENT|NOT_FOUND)/);
  });
});
