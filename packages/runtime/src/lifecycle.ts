/**
 * The frame of every service process: starts it, stops it on SIGINT, SIGTERM or when its parent is gone, and ends with
 * exit code 0 after an ordinary stop, 1 after a fault. Stopping is bounded, and a second signal ends it at once.
 */
import { readEnv } from "./env.ts";
import { asAppError } from "./errors.ts";
import { createLogger, type Logger, type LogLevel, logLevels } from "./logger.ts";
import { nameMetrics } from "./telemetry/metrics.ts";
import { startTracing, type TracingConfig } from "./telemetry/otlp.ts";

const shutdownTimeoutMs = 10_000;

export interface ServiceContext {
  /** Aborted when the service is to stop. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** For a fault found while running, from which the service cannot recover: stops it, with exit code 1. */
  readonly fail: (error: unknown) => void;
  /** Sends spans to the collector that the configuration names, if any, until all else has stopped. */
  readonly trace: (config: TracingConfig) => Promise<void>;
}

export interface ServiceDefinition {
  readonly name: string;
  /** Starts everything; what it returns is disposed of to stop: intake first, then the rest. */
  readonly main: (context: ServiceContext) => Promise<AsyncDisposable>;
  readonly shutdownTimeoutMs?: number;
}

/** To be called once, from main.ts. Never returns to a running process: it ends it. */
export async function runService(definition: ServiceDefinition): Promise<void> {
  const log = createLogger(definition.name, "info");
  nameMetrics(definition.name);
  const stop = new AbortController();
  let exitCode = 0;
  const stopBecause = (why: string) => {
    if (stop.signal.aborted) return;
    log.info({ why }, "stopping");
    stop.abort(new DOMException(why, "AbortError"));
    armTimeout(definition.shutdownTimeoutMs ?? shutdownTimeoutMs, log);
  };
  const fail = (error: unknown) => {
    exitCode = 1;
    log.error({ err: error }, "fault");
    stopBecause("fault");
  };
  watchSignals(stop.signal, stopBecause, log);
  watchParent(stopBecause);
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  // Outside of what `main` starts, so that the last spans of all of it are sent.
  const tracing = new AsyncDisposableStack();
  const trace = async (config: TracingConfig) => void tracing.use(await startTracing(definition.name, config, log));
  try {
    log.level = levelFromEnv();
    await using service = await definition.main({ signal: stop.signal, log, fail, trace });
    void service;
    if (!stop.signal.aborted) {
      log.info("started");
      await new Promise((resolve) => stop.signal.addEventListener("abort", resolve, { once: true }));
    }
  } catch (error) {
    // Work that a stop interrupts rejects with the signal's reason: that is how stopping looks, not a fault.
    const interrupted = stop.signal.aborted && asAppError(error).code === "CANCELLED";
    if (!interrupted) {
      exitCode = 1;
      log.error({ err: error }, stop.signal.aborted ? "could not stop cleanly" : "could not start");
    }
  }
  await tracing.disposeAsync();
  log.info({ exitCode }, "stopped");
  process.exit(exitCode);
}

function levelFromEnv(): LogLevel {
  return readEnv(process.env, (env) => ({ level: env.oneOf("LOG_LEVEL", logLevels, { default: "info" }) })).level;
}

function watchSignals(stopping: AbortSignal, stopBecause: (why: string) => void, log: Logger): void {
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (stopping.aborted) {
        log.warn({ signal: name }, "second signal: ending at once");
        process.exit(1);
      }
      stopBecause(name);
    });
  }
}

/** A service must not outlive the runner that started it: told by the IPC channel or, on request, by the end of stdin. */
function watchParent(stopBecause: (why: string) => void): void {
  if (process.connected) {
    process.on("disconnect", () => stopBecause("parent gone"));
  }
  if (process.env.SALLYPORT_PARENT_STDIN === "1") {
    process.stdin.on("end", () => stopBecause("parent gone"));
    process.stdin.on("error", () => stopBecause("parent gone"));
    process.stdin.resume();
  }
}

function armTimeout(timeoutMs: number, log: Logger): void {
  setTimeout(() => {
    log.error({ timeoutMs }, "stopping took too long: ending at once");
    process.exit(1);
  }, timeoutMs).unref();
}
