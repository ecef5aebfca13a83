import type { ControlMessage } from "@sallyport/proto/sallyport/bus/v1/bus";
import type { Logger } from "@sallyport/runtime";
import type { RunRegistry } from "../core/run-registry.ts";

/** CONTROL: the gateway wants no more of a request. One that does not run here is another worker's, over, or still on its way. */
export function stopRun(context: { runs: RunRegistry; log: Logger }, { requestId, code }: ControlMessage): void {
  const stopped = context.runs.cancel(requestId);
  if (stopped > 0) context.log.info({ requestId, code: code.slice(0, 64) }, "run stopped");
}
