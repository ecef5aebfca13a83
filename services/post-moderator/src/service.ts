/** Door 2's process: create, start, and stop in order: intake, what is being judged, the bus. */
import { allowedCallers } from "@sallyport/proto/calls";
import { ControlMessageSchema, WindowMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { PostModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { coreSubjects, streams } from "@sallyport/proto/subjects";
import { observeValue, type Readiness, serve, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { countersign } from "./handlers/countersign.ts";
import { reviewWindow } from "./handlers/review-window.ts";

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, log, policy, models, switches, runs, tls } = context;
  stack.use(bus);
  stack.use(policy);
  stack.use(models);
  stack.use(switches);
  stack.use(observeValue("sallyport_runs_under_review", "Runs whose windows door 2 is reading.", () => runs.size));
  // One request's windows are judged in order; different requests side by side.
  const inOrder = { concurrency: config.concurrency, orderedBy: (subject: string) => subject };
  const partitions = streams.WINDOWS.consumers.map((consumer) =>
    stack.use(
      bus.consume(
        "WINDOWS",
        consumer,
        WindowMessageSchema,
        (message, meta) => reviewWindow(context, message, meta),
        inOrder,
      ),
    ),
  );
  stack.defer(
    bus.onSignal(coreSubjects.control.pattern, ControlMessageSchema, ({ requestId }) => runs.stop(requestId)),
  );
  const handlers = { countersign: (request: Parameters<typeof countersign>[1]) => countersign(context, request) };
  const mutual = { allowedCallers: (service: string) => allowedCallers("post-moderator", service) };
  stack.use(
    await serve([{ service: PostModerationService, handlers }], { address: config.grpcAddress, tls, mutual, log }),
  );
  const ready = (): Readiness => {
    const fresh = (state: { fresh: boolean }) => (state.fresh ? "ok" : "stale");
    const bound = partitions.every((partition) => partition.bound) ? "ok" : "not bound";
    const checks = {
      bus: bus.connected ? "ok" : "disconnected",
      windows: bound,
      policy: fresh(policy),
      models: fresh(models),
      switches: fresh(switches),
    };
    return { ready: Object.values(checks).every((check) => check === "ok"), checks };
  };
  stack.use(await startHealth(config.healthAddress, { ready }));
  log.info({ grpc: config.grpcAddress }, "listening");
  signal.throwIfAborted();
  return stack.move();
}
