/**
 * Something that stands at door 1's address with door 1's certificate and answers as it is told, also with what is no
 * answer: a door whose program went wrong, as far as a caller's bytes can tell.
 */
import { readFileSync } from "node:fs";
import { Server, ServerCredentials, type ServiceError, type sendUnaryData } from "@grpc/grpc-js";
import type { Platform } from "@sallyport/infra/platform";
import { PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { certificateFiles } from "../../../infra/local/pki.ts";

/** Bytes of a JudgeRequestResponse (or not), a gRPC status, or no answer at all. */
export type DoorAnswer = Uint8Array | { code: number } | "none";

export interface FalseDoor extends AsyncDisposable {
  /** How often it was asked. */
  readonly asked: number;
}

/** The real one must have been stopped. `answer` gets the bytes of the JudgeRequestRequest. */
export async function startFalseDoor1(
  { home, ports }: Platform,
  answer: (request: Uint8Array) => DoorAnswer | Promise<DoorAnswer>,
): Promise<FalseDoor> {
  const { cert, key, ca } = certificateFiles(home, "pre-moderator");
  const pair = { cert_chain: readFileSync(cert), private_key: readFileSync(key) };
  const server = new Server();
  let asked = 0;
  const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
  const method = {
    path: `/${PreModerationService.typeName}/${PreModerationService.method.judgeRequest.name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  } as const;
  const judge = async ({ request }: { request: Buffer }, reply: sendUnaryData<Buffer>) => {
    asked += 1;
    const given = await answer(request);
    if (given === "none") return;
    if (given instanceof Uint8Array) reply(null, Buffer.from(given));
    else reply({ code: given.code, details: "it went wrong" } as ServiceError);
  };
  server.addService({ judgeRequest: method }, { judgeRequest: judge });
  const credentials = ServerCredentials.createSsl(readFileSync(ca), [pair], true);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${ports.preModeratorGrpc}`, credentials, (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return {
    get asked() {
      return asked;
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}
