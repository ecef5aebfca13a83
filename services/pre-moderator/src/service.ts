/** Door 1's process: create, start, and stop in order: intake first, then the bus. */
import { allowedCallers } from "@sallyport/proto/calls";
import { PreModerationService } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { type Readiness, serve, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { judgeRequest } from "./handlers/judge-request.ts";
import { judgeTexts } from "./handlers/judge-texts.ts";

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, log, policy, switches, tls } = context;
  stack.use(bus);
  stack.use(policy);
  stack.use(switches);
  const handlers = {
    judgeRequest: (request: Parameters<typeof judgeRequest>[1]) => judgeRequest(context, request),
    judgeTexts: (request: Parameters<typeof judgeTexts>[1]) => judgeTexts(context, request),
  };
  const mutual = { allowedCallers: (service: string) => allowedCallers("pre-moderator", service) };
  stack.use(
    await serve([{ service: PreModerationService, handlers }], { address: config.grpcAddress, tls, mutual, log }),
  );
  const ready = (): Readiness => {
    const fresh = (state: { fresh: boolean }) => (state.fresh ? "ok" : "stale");
    const checks = { bus: bus.connected ? "ok" : "disconnected", policy: fresh(policy), switches: fresh(switches) };
    return { ready: Object.values(checks).every((check) => check === "ok"), checks };
  };
  stack.use(await startHealth(config.healthAddress, { ready }));
  log.info({ grpc: config.grpcAddress }, "listening");
  signal.throwIfAborted();
  return stack.move();
}
