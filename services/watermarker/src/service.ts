/** The watermarker's process: create, start, and stop in order: intake first, then the bus. */
import { allowedCallers } from "@sallyport/proto/calls";
import { WatermarkService } from "@sallyport/proto/sallyport/watermark/v1/watermark";
import { type Address, type Readiness, serve, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { detect } from "./handlers/detect.ts";

export interface Service extends AsyncDisposable {
  readonly grpc: Address;
  readonly health: Address;
}

export async function startService(context: Context, signal: AbortSignal): Promise<Service> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, log, switches, tls } = context;
  stack.use(bus);
  stack.use(switches);
  const mutual = { allowedCallers: (service: string) => allowedCallers("watermarker", service) };
  const handlers = { detect };
  const server = stack.use(
    await serve([{ service: WatermarkService, handlers }], { address: config.grpcAddress, tls, mutual, log }),
  );
  const health = stack.use(await startHealth(config.healthAddress, { ready: () => readiness(context) }));
  log.info({ grpc: server.address }, "listening");
  signal.throwIfAborted();
  const started = stack.move();
  return {
    grpc: server.address,
    health: health.address,
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

/** Keys were read at the start, or there were no service; trust may run out while it runs. */
function readiness({ bus, trust, signer, clock, switches }: Context): Readiness {
  const checks = {
    bus: bus.connected ? "ok" : "disconnected",
    switches: switches.fresh ? "ok" : "stale",
    trust: "ok",
  };
  try {
    trust.assertCurrent(clock.now());
    trust.keyFor(signer.keyid, "watermarker", clock.now());
  } catch {
    checks.trust = "expired";
  }
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
