/** Somebody between caller and gateway, with the gateway's own certificate: passes everything on, and changes what a test says. */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { create, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { Platform } from "@sallyport/infra/platform";
import {
  GenerationService,
  type GetReceiptResponse,
  type GetRequestResponse,
  GetRequestResponseSchema,
  type Window,
  WindowSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { type CallContext, createClient, createLogger, parseAddress, serve } from "@sallyport/runtime";
import { certificateFiles } from "../../infra/local/pki.ts";

/** What is changed on the way; what is left out passes as it is. */
export interface Tampering {
  /** Says that another request was accepted. */
  requestId?: string;
  windows?: (windows: AsyncIterable<Window>) => AsyncIterable<Window>;
  request?: (response: GetRequestResponse) => GetRequestResponse;
  receipt?: (response: Pick<GetReceiptResponse, "record" | "proof">) => Pick<GetReceiptResponse, "record" | "proof">;
}

export interface Middle extends AsyncDisposable {
  /** For `createClient` of @sallyport/client. */
  readonly address: string;
  tampering: Tampering;
}

const deadlineMs = 60_000;

export async function grpcMiddle({ home, endpoints }: Platform): Promise<Middle> {
  const files = certificateFiles(home, "gateway");
  const ca = readFileSync(endpoints.ca);
  const upstream = createClient(GenerationService, { address: parseAddress(endpoints.gatewayGrpc), tls: { ca } });
  const asCaller = ({ bearer, signal }: CallContext) => ({ deadlineMs, bearer, signal });
  const middle: Pick<Middle, "tampering"> = { tampering: {} };
  const server = await serve(
    [
      {
        service: GenerationService,
        handlers: {
          chat: async function* (request, call) {
            const rest: { event: Awaited<ReturnType<typeof next>> }[] = [];
            const events = upstream.chat(request, asCaller(call))[Symbol.asyncIterator]();
            const next = async () => (await events.next()).value?.event;
            const accepted = await next();
            const { requestId } = middle.tampering;
            if (accepted?.case === "accepted" && requestId) accepted.value.requestId = requestId;
            yield { event: accepted };
            const windows = async function* () {
              for (let event = await next(); event; event = await next()) {
                if (event.case === "window") yield event.value;
                else rest.push({ event });
              }
            };
            for await (const value of tampered(middle.tampering, windows())) yield { event: { case: "window", value } };
            yield* rest;
          },
          getRequest: async (request, call) => {
            const response = await upstream.getRequest(request, asCaller(call));
            return middle.tampering.request?.(response) ?? response;
          },
          getReceipt: async (request, call) => {
            const response = await upstream.getReceipt(request, asCaller(call));
            return middle.tampering.receipt?.(response) ?? response;
          },
          cancelRequest: (request, call) => upstream.cancelRequest(request, asCaller(call)),
          listModels: (request, call) => upstream.listModels(request, asCaller(call)),
          moderateTexts: (request, call) => upstream.moderateTexts(request, asCaller(call)),
        },
      },
    ],
    {
      address: { host: "127.0.0.1", port: 0 },
      tls: { cert: readFileSync(files.cert), key: readFileSync(files.key), ca },
      log: createLogger("gateway", "error"),
    },
  );
  return Object.assign(middle, {
    address: `127.0.0.1:${server.address.port}`,
    async [Symbol.asyncDispose]() {
      upstream.close();
      await server[Symbol.asyncDispose]();
    },
  });
}

export async function httpMiddle({ endpoints }: Platform): Promise<Middle> {
  const middle: Pick<Middle, "tampering"> = { tampering: {} };
  const server = createServer((request, response) => {
    forward(new URL(endpoints.gatewayHttp), middle.tampering, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(middle, {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

async function forward(base: URL, tampering: Tampering, request: IncomingMessage, response: ServerResponse) {
  const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
  const { host, connection, "content-length": length, ...headers } = request.headers;
  const reply = await fetch(new URL(request.url!, base), {
    method: request.method,
    headers: headers as Record<string, string>,
    ...(body.length > 0 && { body }),
  });
  const kept = ["content-type", "x-request-id", "retry-after", "x-should-retry"];
  const passed = Object.fromEntries([...reply.headers].filter(([name]) => kept.includes(name)));
  if (tampering.requestId && passed["x-request-id"]) passed["x-request-id"] = tampering.requestId;
  response.writeHead(reply.status, passed);
  if (passed["content-type"]?.startsWith("text/event-stream")) {
    for await (const event of events(reply, tampering)) response.write(event);
    return response.end();
  }
  response.end(changedJson(request.url!, await reply.text(), tampering));
}

async function* events(reply: Response, tampering: Tampering): AsyncGenerator<string> {
  type Chunk = { sallyport?: { window?: JsonValue } };
  const all = (await reply.text()).split("\n\n").filter(Boolean);
  const chunkOf = (event: string) => (event === "data: [DONE]" ? {} : (JSON.parse(event.slice(6)) as Chunk));
  const isWindow = (event: string) => chunkOf(event).sallyport?.window !== undefined;
  const first = all.findIndex(isWindow);
  yield* all.slice(0, first === -1 ? all.length : first).map((event) => `${event}\n\n`);
  if (first === -1) return;
  const windows = async function* () {
    for (const event of all.filter(isWindow)) yield fromJson(WindowSchema, chunkOf(event).sallyport!.window!);
  };
  for await (const window of tampered(tampering, windows()))
    yield `data: ${JSON.stringify({ choices: [], sallyport: { window: toJson(WindowSchema, window) } })}\n\n`;
  yield* all
    .slice(first)
    .filter((event) => !isWindow(event))
    .map((event) => `${event}\n\n`);
}

function changedJson(path: string, text: string, { request, receipt }: Tampering): string {
  if (receipt && path.endsWith("/receipt")) {
    const { record, proof } = JSON.parse(text) as { record: string; proof: string };
    const changed = receipt({ record: Buffer.from(record), proof });
    return JSON.stringify({ record: Buffer.from(changed.record).toString("utf8"), proof: changed.proof });
  }
  if (!request || !path.startsWith("/v1/requests/")) return text;
  const response = fromJson(GetRequestResponseSchema, JSON.parse(text), { ignoreUnknownFields: true });
  return JSON.stringify(toJson(GetRequestResponseSchema, create(GetRequestResponseSchema, request(response))));
}

function tampered({ windows: change }: Tampering, windows: AsyncIterable<Window>): AsyncIterable<Window> {
  return change ? change(windows) : windows;
}
