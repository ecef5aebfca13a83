/** A gateway that does what a test says, over gRPC and over HTTP alike; nothing it sends is signed. */
import { X509Certificate } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  GenerationService,
  RequestState,
  WindowContentSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { type AppError, createLogger, type Handlers, serve, toHttpStatus } from "@sallyport/runtime";
import { createTestPki } from "@sallyport/runtime/testing";

export const ways = ["grpc", "http"] as const;
export type Way = (typeof ways)[number];

/** What one call is answered with: texts as windows, then the release or the error. */
export interface Answer {
  texts?: readonly string[];
  error?: AppError;
  /** HTTP only. */
  headers?: Readonly<Record<string, string>>;
  /** Never ends. */
  hangs?: boolean;
}

export interface Scripted extends AsyncDisposable {
  readonly address: Record<Way, string>;
  readonly ca: Buffer;
  /** Answers in order; the last one is repeated. */
  answers: Answer[];
  /** Idempotency keys of the chats, in order. */
  keys: string[];
  cancelled: string[];
  /** Who called each chat: the token, or the subject of the client certificate. */
  callers: string[];
  /** By the gateway's authority. */
  readonly clientCertificate: { cert: Buffer; key: Buffer };
}

const id = "01234567-89ab-7cde-8f01-23456789abcd";

export async function scriptedGateway(): Promise<Scripted> {
  const pki = await createTestPki();
  const script: Script = { answers: [], keys: [], cancelled: [], callers: [] };
  const tls = await pki.issue("gateway");
  const next = () => (script.answers.length > 1 ? script.answers.shift()! : script.answers[0]!);
  const grpc = await serve([{ service: GenerationService, handlers: handlers(script, next) }], {
    address: { host: "127.0.0.1", port: 0 },
    tls,
    clientCa: tls,
    log: createLogger("gateway", "error"),
  });
  const http = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    request.resume().on("end", () => {
      const fail = (error: AppError) => {
        const { code, message, reason, details, retryAfterMs } = error;
        const retry = retryAfterMs === undefined ? {} : { retryAfterMs: String(retryAfterMs) };
        return { error: { message, code: reason.toLowerCase(), sallyport: { ...details, ...retry, code } } };
      };
      if (request.url?.endsWith("/cancel")) {
        script.cancelled.push(id);
        return response.end(JSON.stringify({ outcome: { requestId: id, state: "REQUEST_STATE_CANCELLED" } }));
      }
      script.keys.push(String(request.headers["idempotency-key"] ?? ""));
      const shown = (request.socket as TLSSocket).getPeerX509Certificate();
      script.callers.push(request.headers.authorization?.replace("Bearer ", "") ?? String(shown?.subject));
      const { texts = [], error, headers, hangs } = next();
      if (error && texts.length === 0) {
        response.writeHead(toHttpStatus(error), { "content-type": "application/json", ...headers });
        return response.end(JSON.stringify(fail(error)));
      }
      response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": id });
      const send = (value: object) => response.write(`data: ${JSON.stringify(value)}\n\n`);
      response.flushHeaders();
      for (const content of texts) send({ choices: [{ delta: { content } }] });
      if (hangs) return;
      send(error ? fail(error) : { choices: [], sallyport: { request_id: id, state: "released" } });
      response.end("data: [DONE]\n\n");
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return Object.assign(script, {
    ca: pki.ca,
    clientCertificate: await pki.issue("batch-job"),
    address: { grpc: `127.0.0.1:${grpc.address.port}`, http: `https://127.0.0.1:${port}/v1` },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      await grpc[Symbol.asyncDispose]();
    },
  });
}

type Script = Pick<Scripted, "answers" | "keys" | "cancelled" | "callers">;

function handlers(script: Script, next: () => Answer): Handlers<typeof GenerationService> {
  const unused = async () => {
    const { error } = next();
    if (error) throw error;
    return {};
  };
  return {
    chat: async function* ({ idempotencyKey }, { signal, bearer, certificate }) {
      script.keys.push(idempotencyKey);
      script.callers.push(bearer ?? String(certificate && new X509Certificate(certificate).subject));
      const { texts = [], error, hangs } = next();
      if (error && texts.length === 0) throw error;
      yield { event: { case: "accepted", value: { requestId: id } } };
      for (const [index, text] of texts.entries()) {
        const content = toBinary(WindowContentSchema, create(WindowContentSchema, { text }));
        yield { event: { case: "window", value: { index, content } } };
      }
      if (hangs) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      if (error) throw error;
      yield { event: { case: "outcome", value: { requestId: id, state: RequestState.RELEASED } } };
    },
    cancelRequest: async ({ requestId }) => {
      script.cancelled.push(requestId);
      return {};
    },
    getRequest: unused,
    getReceipt: unused,
    listModels: unused,
    moderateTexts: unused,
  };
}
