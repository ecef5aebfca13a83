import type { ServiceName } from "@sallyport/proto/subjects";
import { loadSecret } from "../keys.ts";
import type { Logger } from "../logger.ts";
import type { TlsMaterial } from "../tls.ts";
import { type Bus, connectBus } from "./index.ts";

export interface Joining {
  readonly service: ServiceName;
  readonly tls: TlsMaterial;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** A service's connection, as its configuration says. A start that is broken off leaves none behind, and throws. */
export async function joinBus(
  { natsUrl: url, natsNkeyFile }: { natsUrl: string; natsNkeyFile: string },
  { service, tls, log, signal }: Joining,
): Promise<Bus> {
  const bus = await connectBus({ url, nkeySeed: loadSecret(natsNkeyFile, log), tls, service, log });
  if (signal.aborted) await bus[Symbol.asyncDispose]();
  signal.throwIfAborted();
  return bus;
}
