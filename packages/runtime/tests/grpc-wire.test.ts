import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  type ChannelCredentials,
  Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath } from "grpc-health-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeStatus, type GrpcServer } from "../src/index.ts";
import { pki, startServer } from "./grpc-kit.ts";

let server: GrpcServer;
let client: Client;
const tls: ChannelCredentials = credentials.createSsl(pki.ca);
const target = () => `localhost:${server.address.port}`;

beforeAll(async () => {
  server = await startServer({
    getRequest: async ({ requestId }) => ({ model: requestId }),
    chat: async function* () {
      yield {};
    },
  });
  client = new Client(target(), tls);
});
afterAll(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
});

/** Sends raw bytes to a method, as a client that is not ours would. */
function send(method: string, bytes: Buffer, metadata = new Metadata()): Promise<Buffer | ServiceError> {
  const same = (value: Buffer) => value;
  const path = `/sallyport.generation.v1.GenerationService/${method}`;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, bytes, metadata, { deadline: Date.now() + 3_000 }, (error, reply) =>
      resolve(error ?? reply!),
    );
  });
}

const notProtobuf = [
  ["an unfinished varint", "ffffffffffffffffffffff"],
  ["a length beyond the end", "0aff"],
  ["an end group without start", "0c"],
  ["field number 0", "0000"],
  ["invalid UTF-8 in a string", "0a02c328"],
  ["groups nested 100,000 deep", "0b".repeat(100_000)],
] as const;

test.each(notProtobuf)("%s is INVALID_ARGUMENT, and the server goes on", async (_what, hex) => {
  const answer = await send("GetRequest", Buffer.from(hex, "hex"));
  expect(decodeStatus(answer as ServiceError)).toMatchObject({ code: "INVALID_ARGUMENT", reason: "MESSAGE_MALFORMED" });
  expect((await send("GetRequest", Buffer.from("0a026f6b", "hex"))).toString("utf8")).toContain("ok");
});

test.each(["Basic abc", "Bearer", "Bearer a b", "Bearer a,b", `Bearer ${"a".repeat(20_000)}`])(
  "an authorization header that is no bearer token is refused with TOKEN_MALFORMED",
  async (header) => {
    const metadata = new Metadata();
    metadata.set("authorization", header);
    const answer = await send("GetRequest", Buffer.alloc(0), metadata);
    expect(decodeStatus(answer as ServiceError)).toMatchObject({ code: "UNAUTHENTICATED", reason: "TOKEN_MALFORMED" });
  },
);

test("an unknown method is UNIMPLEMENTED", async () => {
  expect(((await send("Nothing", Buffer.alloc(0))) as ServiceError).code).toBe(status.UNIMPLEMENTED);
});

// biome-ignore lint/suspicious/noExplicitAny: clients that proto-loader makes at run time have no types
type Untyped = any;

test("grpc.health.v1 tells SERVING for the whole and each service, and NOT_SERVING when told so", async () => {
  const { grpc } = loadPackageDefinition(loadSync(protoPath, { enums: String })) as Untyped;
  const health = new grpc.health.v1.Health(target(), tls);
  const check = (service: string) =>
    new Promise((resolve) => {
      health.check({ service }, (error: ServiceError | null, reply: Untyped) => resolve(error?.code ?? reply.status));
    });
  expect(await check("")).toBe("SERVING");
  expect(await check("sallyport.generation.v1.GenerationService")).toBe("SERVING");
  expect(await check("nothing")).toBe(status.NOT_FOUND);
  server.setServing(false);
  expect(await check("")).toBe("NOT_SERVING");
  server.setServing(true);
  health.close();
});

test("reflection lists the services and describes them with what they import", async () => {
  const path = fileURLToPath(import.meta.resolve("@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto"));
  const { grpc } = loadPackageDefinition(loadSync(path, { oneofs: true })) as Untyped;
  const reflection = new grpc.reflection.v1.ServerReflection(target(), tls);
  const stream = reflection.ServerReflectionInfo();
  const replies = stream[Symbol.asyncIterator]();
  const ask = async (request: object) => {
    stream.write(request);
    return (await replies.next()).value;
  };
  const { listServicesResponse } = await ask({ listServices: "*" });
  expect(listServicesResponse.service.map(({ name }: { name: string }) => name).sort()).toEqual([
    "sallyport.generation.v1.GenerationService",
    "sallyport.governance.v1.ModelService",
  ]);
  const { fileDescriptorResponse } = await ask({ fileContainingSymbol: "sallyport.generation.v1.ChatRequest" });
  const files = fileDescriptorResponse.fileDescriptorProto.map((bytes: Buffer) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
  const packages = files.map((file: { package: string }) => file.package).sort();
  // Of the imports' imports too: who describes moderateTexts needs what it refers to.
  const needed = ["attestation", "generation", "moderation"].map((name) => `sallyport.${name}.v1`);
  expect(packages).toEqual(["google.protobuf", ...needed]);
  stream.end();
  reflection.close();
});
