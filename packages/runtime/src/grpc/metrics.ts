/** Rate, errors and duration of every method, served and called. */
import { asAppError } from "../errors.ts";
import { counter, gauge, histogram, requestBuckets, secondsSince } from "../telemetry/metrics.ts";
import { withSpan } from "../telemetry/spans.ts";

const served = counter("sallyport_grpc_server_calls_total", "Calls answered, by method and outcome.", [
  "method",
  "code",
  "reason",
]);
const servedSeconds = histogram(
  "sallyport_grpc_server_seconds",
  "Duration of calls answered.",
  ["method"],
  requestBuckets,
);
const inFlight = gauge("sallyport_grpc_server_in_flight", "Calls being answered.");
const called = counter("sallyport_grpc_client_calls_total", "Calls to neighbours, by method and outcome.", [
  "method",
  "code",
  "reason",
]);
const calledSeconds = histogram("sallyport_grpc_client_seconds", "Duration of calls to neighbours.", ["method"]);

let running = 0;

export function callStarted(): void {
  running += 1;
  inFlight.set({}, running);
}

/** `failure`: undefined for a call that went well. */
export function callEnded(path: string, failure: unknown, seconds: number): void {
  running -= 1;
  inFlight.set({}, running);
  const method = path.slice(1);
  served.inc({ method, ...outcomeOf(failure) });
  servedSeconds.observe({ method }, seconds);
}

/** Counts one call to a neighbour, and makes it a part of the trace. */
export async function observeCall<T>(path: string, call: () => Promise<T>): Promise<T> {
  const method = path.slice(1);
  const [service, name] = method.split("/");
  const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": name };
  const startedAt = performance.now();
  let failure: unknown;
  try {
    return await withSpan(method, { kind: "client", attributes }, call);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    called.inc({ method, ...outcomeOf(failure) });
    calledSeconds.observe({ method }, secondsSince(startedAt));
  }
}

function outcomeOf(failure: unknown): { code: string; reason: string } {
  if (failure === undefined) return { code: "OK", reason: "OK" };
  const { code, reason } = asAppError(failure);
  return { code, reason };
}
