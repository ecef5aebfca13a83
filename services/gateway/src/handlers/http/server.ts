/** The OpenAI-compatible HTTP API (fastify). Limits first: head, caller, then the body. */
import { create, toJson } from "@bufbuild/protobuf";
import { GetRequestResponseSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { type Address, AppError, asAppError } from "@sallyport/runtime";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import type { Context } from "../../context.ts";
import { cancelRequest, getReceipt, getRequest, models } from "../requests.ts";
import { readJsonOnly } from "./body.ts";
import { handleChatCompletions } from "./chat-completions.ts";
import { toHttpError } from "./errors.ts";
import { type HttpLimits, httpLimits } from "./limits.ts";
import { createHttpListener } from "./listener.ts";
import { handleModerations } from "./moderations.ts";
import { checkHead, identify } from "./request.ts";
import { observeHttp } from "./telemetry.ts";

export async function serveHttp(
  context: Context,
  address: Address,
  limits: HttpLimits = httpLimits,
): Promise<AsyncDisposable & { address: Address }> {
  const { tls, clientCa, config } = context;
  const clients = { always: config.httpTls, clientCa };
  const { server, onClientError } = createHttpListener(tls, address, limits, clients);
  const app = Fastify({
    serverFactory: (handler) => server.on("request", handler),
    clientErrorHandler: onClientError,
    forceCloseConnections: true,
    logger: false,
    exposeHeadRoutes: false,
    onProtoPoisoning: "error",
    onConstructorPoisoning: "error",
    // What fails before there is a route, such as a path that cannot be decoded.
    frameworkErrors: (error, _request, reply) => {
      const { status, body } = toHttpError(error);
      void (reply as FastifyReply).status(status).send(body);
    },
  });
  observeHttp(app);
  readJsonOnly(app, limits);
  app.addHook("onRequest", async (request) => {
    checkHead(request.raw, limits);
    // Before the body is read: whoever may not call is not listened to for long.
    if (!request.is404) await identify(context, request);
  });
  app.setErrorHandler((error, request, reply) => {
    const { status, headers, body } = toHttpError(error);
    if (status >= 500)
      context.log.error({ err: asAppError(error), path: request.routeOptions.url, status }, "http request failed");
    return reply.status(status).headers(headers).send(body);
  });
  app.setNotFoundHandler((request, reply) => {
    const missing = new AppError("NOT_FOUND", `${request.method} here is not part of this API; see the documentation`, {
      reason: "ROUTE_NOT_FOUND",
    });
    return reply.status(404).send(toHttpError(missing).body);
  });
  routes(app, context);
  await app.listen({ host: address.host, port: address.port });
  const bound = app.server.address();
  const port = typeof bound === "object" && bound ? bound.port : address.port;
  return { address: { host: address.host, port }, [Symbol.asyncDispose]: () => app.close() };
}

function routes(app: FastifyInstance, context: Context): void {
  app.post("/v1/chat/completions", (request, reply) => handleChatCompletions(context, request, reply));
  app.post("/v1/moderations", (request, reply) => handleModerations(context, request, reply));
  app.get("/v1/models", async (request) => {
    const identity = await identify(context, request);
    return { object: "list", data: models(context, identity).map(openAiModel) };
  });
  app.get<{ Params: { model: string } }>("/v1/models/:model", async (request) => {
    const identity = await identify(context, request);
    const found = models(context, identity).find(({ name }) => name === request.params.model);
    if (!found)
      throw new AppError("NOT_FOUND", "there is no approved model of that name", {
        reason: "MODEL_NOT_FOUND",
        details: { field: "model" },
      });
    return openAiModel(found);
  });
  // Ours: what OpenAI's API has no place for.
  app.get<{ Params: { id: string } }>("/v1/requests/:id", async (request) => {
    const view = await getRequest(context, await identify(context, request), request.params.id);
    return toJson(GetRequestResponseSchema, create(GetRequestResponseSchema, view), { alwaysEmitImplicit: true });
  });
  app.post<{ Params: { id: string } }>("/v1/requests/:id/cancel", async (request) => {
    const identity = await identify(context, request);
    await cancelRequest(context, identity, request.params.id);
    const view = await getRequest(context, identity, request.params.id);
    return toJson(GetRequestResponseSchema, create(GetRequestResponseSchema, view), { alwaysEmitImplicit: true });
  });
  app.get<{ Params: { id: string } }>("/v1/requests/:id/receipt", async (request) => {
    const identity = await identify(context, request);
    const { record, proof } = await getReceipt(context, identity, request.params.id);
    return { record: Buffer.from(record).toString("utf8"), proof };
  });
}

function openAiModel(model: ReturnType<typeof models>[number]) {
  const { name, digest, version, tier, contextTokens, engine, approvedAt } = model;
  return {
    id: name,
    object: "model",
    created: Number(approvedAt.seconds),
    owned_by: "sallyport",
    sallyport: { digest, version, tier, engine, context_tokens: contextTokens },
  };
}
