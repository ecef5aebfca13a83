/** gRPC below the libraries: frames, messages, metadata and ends of every wrong kind, on the three ports that callers reach. */
import { readFileSync } from "node:fs";
import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import { AuditService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { CredentialService } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchService } from "@sallyport/proto/sallyport/governance/v1/switches";
import fc, { type Arbitrary } from "fast-check";
import { expect } from "vitest";
import { model, type Person, type TestPlatform } from "../../kit/index.ts";
import { campaign } from "../support/campaign.ts";
import { messageBytes } from "../support/message.ts";
import { type Frames, framed, RawGrpc } from "../support/sockets.ts";

type Port = "gatewayGrpc" | "governanceGrpc" | "auditGrpc";

/** By whom each is called: one whose call comes as far as it may without putting the platform to a stop. */
const served: readonly [Port, DescService, Person][] = [
  ["gatewayGrpc", GenerationService, "user"],
  ["governanceGrpc", ModelService, "operator"],
  ["governanceGrpc", ReviewService, "reviewer"],
  ["governanceGrpc", CredentialService, "outsider"],
  ["governanceGrpc", SwitchService, "user"],
  ["auditGrpc", AuditService, "auditor"],
];

interface Target {
  readonly port: Port;
  readonly path: string;
  readonly message: DescMessage | undefined;
  readonly person: Person;
}

const foreign = [
  "/grpc.health.v1.Health/Check",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/x/y",
  "/",
];
const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
const targets: readonly Target[] = served.flatMap(([port, service, person]) => [
  ...service.methods.map((method) => ({ port, path: pathOf(method), message: method.input, person })),
  ...foreign.map((path) => ({ port, path, message: undefined, person })),
]);

const strangeHeaders = fc.constantFrom<Record<string, string>>(
  { "grpc-timeout": "soon" },
  { "grpc-timeout": "99999999H" },
  { "grpc-timeout": "0n" },
  { "grpc-encoding": "gzip" },
  { "grpc-encoding": "x\u00e9" },
  { "content-type": "application/grpc+json" },
  { "content-type": "application/json" },
  { "content-type": "application/grpc-web-text" },
  { "x-bin": "!!!!" },
  { "grpc-status-details-bin": "AAAA" },
  { "x-a": "caf\u00e9" },
  { "x-a": "a".repeat(30_000) },
  Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`x-${i}`, "a"])),
  { traceparent: "00-zz-zz-zz" },
  { ":method": "GET" },
  { authorization: "Basic x" },
  { authorization: "Bearer \u00e9" },
  { authorization: "Bearer a.b.c" },
  { authorization: "" },
);

type Case = Target & Frames;

function cases(sallyport: TestPlatform, known: readonly string[]): Arbitrary<Case> {
  return fc.constantFrom(...targets).chain((target) => {
    const bytes = target.message ? messageBytes(target.message, [model, ...known]) : fc.uint8Array({ maxLength: 200 });
    const usual = {
      ":path": target.path,
      authorization: `Bearer ${sallyport.token(target.person)}`,
      "grpc-timeout": "2S",
    };
    const headers = fc.option(strangeHeaders, { nil: {}, freq: 4 }).map((strange) => ({ ...usual, ...strange }));
    const ending = fc.oneof(
      { weight: 12, arbitrary: fc.constant<Frames["ending"]>("end") },
      fc.constantFrom<Frames["ending"]>("reset", "stay"),
    );
    return fc
      .record({ headers, pieces: piecesOf(bytes), ending })
      .map((frames) => ({ ...target, ...frames, ...(lasts(target, frames) && endsSoon(frames)) }));
  });
}

/** Whoever stays silent is let go in 30 s, and who follows something may do so for an hour: the campaign does not wait so long. */
const lasts = ({ path }: Target, { headers, ending }: Frames) =>
  ending === "stay" || (/TailRecords|Chat/.test(path) && headers["grpc-timeout"] === "99999999H");
const endsSoon = ({ headers }: Frames) => ({ headers: { ...headers, "grpc-timeout": "2S" } });

function piecesOf(message: Arbitrary<Uint8Array>): Arbitrary<Uint8Array[]> {
  const flag = fc.constantFrom(0, 1, 2, 255);
  const length = fc.constantFrom(0, 1, 5_000_000, 0xffff_ffff);
  return fc.oneof(
    { weight: 12, arbitrary: message.map((bytes) => [framed(bytes)]) },
    { weight: 2, arbitrary: fc.tuple(message, flag).map(([bytes, each]) => [framed(bytes, each)]) },
    { weight: 2, arbitrary: fc.tuple(message, length).map(([bytes, each]) => [framed(bytes, 0, each)]) },
    fc.array(message, { maxLength: 4 }).map((all) => all.map((bytes) => framed(bytes))),
    fc.nat({ max: 2_000 }).map((count) => [Buffer.concat(Array(count).fill(framed(Buffer.alloc(0), 1)))]),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => [bytes]),
    message.map((bytes) => [...framed(bytes)].slice(0, 40).map((byte) => Uint8Array.of(byte))),
  );
}

const [unknown, internal, unavailable] = [2, 13, 14];

/** `known`: ids of requests that there are. */
export async function fuzzGrpc(sallyport: TestPlatform, count: number, known: readonly string[] = []): Promise<void> {
  const { endpoints } = sallyport.platform;
  const ca = readFileSync(endpoints.ca);
  const lines = Object.fromEntries(served.map(([port]) => [port, new RawGrpc(endpoints[port], ca)])) as Record<
    Port,
    RawGrpc
  >;
  await campaign("gRPC", cases(sallyport, known), { cases: count, atOnce: 8 }, async ({ port, ...frames }) => {
    const { status, http, message } = await lines[port].call(frames);
    expect([unknown, internal, unavailable]).not.toContain(status);
    expect(decodeURIComponent(message)).not.toMatch(/127\.0\.0\.1|node_modules|\.ts\b|ECONN|\[object/);
    return status === undefined ? `HTTP ${http ?? "reset"}` : `status ${status}`;
  });
  await Promise.all((Object.keys(lines) as Port[]).map((port) => flood(endpoints[port], ca, lines[port])));
  for (const line of Object.values(lines)) line[Symbol.dispose]();
}

const check = {
  headers: { ":path": "/grpc.health.v1.Health/Check" },
  pieces: [framed(Buffer.alloc(0))],
  ending: "end",
} as const;

/** Streams opened and reset, and streams that say nothing, within what HTTP/2 lets one connection have: others are served. */
async function flood(address: string, ca: Uint8Array, other: RawGrpc): Promise<void> {
  using busy = new RawGrpc(address, ca);
  const resets = Array.from({ length: 400 }, () => busy.call({ ...check, ending: "reset" }));
  const silent = Array.from({ length: 100 }, () =>
    busy.call({ ...check, headers: { ...check.headers, "grpc-timeout": "3S" }, pieces: [], ending: "stay" }),
  );
  expect((await other.call(check)).status).toBe(0);
  await Promise.all([...resets, ...silent]);
  expect((await other.call(check)).status).toBe(0);
}
