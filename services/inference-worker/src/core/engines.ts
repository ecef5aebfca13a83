import type { Logger } from "@sallyport/runtime";
import type { Config } from "../config.ts";
import type { ApprovedModel } from "../domain/manifest.ts";
import { type Engine, EngineError } from "../engine/engine.ts";
import { LlamaEngine } from "../engine/llama/llama-engine.ts";
import { RemoteEngine } from "../engine/remote/remote-engine.ts";
import { countEngineDeath } from "../metrics.ts";
import { ModelFile, modelPath } from "./model-file.ts";

const restart = { baseMs: 250, maxMs: 30_000 };

/** The engine for an approved model, not yet loaded. */
export function createEngine(model: ApprovedModel, config: Config, ca: string, log: Logger): Engine {
  return model.remote === undefined ? llama(model, config, log) : remote(model.remote, config, ca);
}

function llama({ digest, contextTokens, name }: ApprovedModel, config: Config, log: Logger): Engine {
  const file = new ModelFile(modelPath(config.modelStoreDir, digest), digest);
  const { sequences, threads, batchTokens, startupTimeoutMs, stallTimeoutMs, readyTimeoutMs } = config;
  return new LlamaEngine({
    load: { modelPath: file.path, contextTokens, sequences, threads, batchTokens },
    ...{ startupTimeoutMs, stallTimeoutMs, readyTimeoutMs, restart },
    verifyFile: () => file.verify(),
    onDeath: () => countEngineDeath(name),
    log: log.child({ model: name }),
  });
}

function remote({ endpoint, model }: NonNullable<ApprovedModel["remote"]>, config: Config, ca: string): Engine {
  const baseUrl = config.remoteEndpoints[endpoint];
  if (baseUrl === undefined) throw new EngineError("MODEL_UNUSABLE", "the model's endpoint is not configured");
  const timeouts = {
    connectMs: config.remoteConnectTimeoutMs,
    firstByteMs: config.remoteFirstByteTimeoutMs,
    idleMs: config.remoteIdleTimeoutMs,
  };
  return new RemoteEngine({ baseUrl, model, timeouts, ca });
}
