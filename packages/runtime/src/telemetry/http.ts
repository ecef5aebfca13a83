/** Rate, errors, duration and span of a request that came by HTTP. */
import { AppError, asAppError } from "../errors.ts";
import { counter, gauge, histogram, requestBuckets, secondsSince } from "./metrics.ts";
import type { Scope } from "./scope.ts";
import { startSpan } from "./spans.ts";

const requests = counter("sallyport_http_requests_total", "Requests by route and outcome; 499: the caller left.", [
  "method",
  "route",
  "status",
  "reason",
]);
const seconds = histogram(
  "sallyport_http_seconds",
  "Duration of requests, streams to their end.",
  ["route"],
  requestBuckets,
);
const inFlight = gauge("sallyport_http_in_flight", "Requests being answered.");
const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

let running = 0;

export interface HttpCall {
  readonly scope: Scope;
  /** `failure`: what the answer was made of, if it was an error. */
  end(status: number, failure?: unknown): void;
}

/** `route`: the pattern, never the path; `traceparent`: as the caller sent it. */
export function startHttpCall(rawMethod: string, route: string, traceparent: string | undefined): HttpCall {
  const method = methods.includes(rawMethod) ? rawMethod : "OTHER";
  const attributes = { "http.request.method": method, "http.route": route };
  const span = startSpan(`${method} ${route}`, { kind: "server", edge: true, parent: traceparent, attributes });
  const startedAt = performance.now();
  running += 1;
  inFlight.set({}, running);
  return {
    scope: span.scope,
    end(status, failure) {
      running -= 1;
      inFlight.set({}, running);
      const reason = failure === undefined ? (status < 400 ? "OK" : "HTTP") : asAppError(failure).reason;
      requests.inc({ method, route, status: String(status), reason });
      seconds.observe({ route }, secondsSince(startedAt));
      span.set({ "http.response.status_code": status });
      span.end(failure ?? (status >= 500 ? new AppError("INTERNAL", "failed") : undefined));
    },
  };
}
