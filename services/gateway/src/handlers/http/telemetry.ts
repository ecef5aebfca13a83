/** Every HTTP request is counted, timed and traced; what its handlers do belongs to its trace. */
import { type HttpCall, runInScope, startHttpCall } from "@sallyport/runtime";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { header } from "./request.ts";

/** To be called before any other hook is added, so that refusals count too. */
export function observeHttp(app: FastifyInstance): void {
  const calls = new WeakMap<FastifyRequest, HttpCall>();
  const failures = new WeakMap<FastifyRequest, unknown>();
  app.addHook("onRequest", (request, reply, done) => {
    const route = request.is404 ? "none" : (request.routeOptions.url ?? "none");
    const call = startHttpCall(request.method, route, header(request, "traceparent"));
    calls.set(request, call);
    // Comes once, also for a stream that was taken over and for a caller who left.
    reply.raw.once("close", () =>
      call.end(reply.raw.writableFinished ? reply.raw.statusCode : 499, failures.get(request)),
    );
    runInScope(call.scope, done);
  });
  // Reading the body has left the scope: events of the socket are not part of it.
  app.addHook("preHandler", (request, _reply, done) => runInScope(calls.get(request)?.scope, done));
  app.addHook("onError", (request, _reply, error, done) => {
    failures.set(request, error);
    done();
  });
}
