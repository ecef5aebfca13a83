/**
 * The engine process: native code and model file, and nothing else. It has no environment, no keys and no bus; it knows
 * the model's path and speaks with its worker over the IPC channel (protocol.ts). It may die at any time.
 */
import {
  type ChatWrapper,
  getLlama,
  type LlamaContextSequence,
  LlamaLogLevel,
  type LlamaModel,
  resolveChatWrapper,
} from "node-llama-cpp";
import { EngineError, type GenerationRequest } from "../engine.ts";
import { generate } from "./generation.ts";
import type { HostCommand, HostEvent, LoadOptions } from "./protocol.ts";

interface Loaded {
  model: LlamaModel;
  wrapper: ChatWrapper;
  contextTokens: number;
  batchTokens: number;
  idle: LlamaContextSequence[];
}

let loaded: Loaded | undefined;
const runs = new Map<number, AbortController>();
/** Runs whose sequence is not free yet, because one that was cancelled still winds down. */
const waiting: (() => void)[] = [];

function tell(event: HostEvent): void {
  // A channel that is gone means that the worker is: the process ends by `disconnect`.
  if (process.connected) process.send?.(event, undefined, undefined, () => {});
}

async function load(options: LoadOptions): Promise<void> {
  const { modelPath, sequences, threads, batchTokens } = options;
  try {
    const llama = await getLlama({
      gpu: false,
      build: "never",
      skipDownload: true,
      maxThreads: threads,
      logLevel: LlamaLogLevel.disabled,
      progressLogs: false,
    });
    // Read into memory, not mapped: what was hashed is what runs, whatever happens to the file later.
    const model = await llama.loadModel({ modelPath, gpuLayers: 0, useMmap: false, checkTensors: true });
    const asked = Math.min(options.contextTokens, model.trainContextSize);
    const context = await model.createContext({
      sequences,
      contextSize: asked,
      batchSize: batchTokens,
      threads,
      failedCreationRemedy: false,
    });
    // The engine rounds up to multiples of 256 and keeps one place free.
    const contextTokens = Math.min(asked, context.contextSize - 1);
    const idle = Array.from({ length: sequences }, () => context.getSequence());
    const wrapper = resolveChatWrapper(model, { warningLogs: false });
    loaded = { model, wrapper, contextTokens, batchTokens, idle };
    tell({ type: "loaded", contextTokens });
  } catch (error) {
    tell({ type: "unusable", message: error instanceof Error ? error.message : "the model cannot be loaded" });
  }
}

async function run(id: number, request: GenerationRequest): Promise<void> {
  if (loaded === undefined) {
    tell(failure(id, new EngineError("ENGINE_UNAVAILABLE", "no model is loaded")));
    return;
  }
  const cancel = new AbortController();
  runs.set(id, cancel);
  while (loaded.idle.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  const sequence = loaded.idle.pop()!;
  const sink = {
    progress: () => tell({ type: "progress", run: id }),
    text: (text: string, tokens: number) => tell({ type: "text", run: id, text, tokens }),
  };
  try {
    const end = await generate({ ...loaded, sequence }, request, sink, cancel.signal);
    tell({ type: "done", run: id, ...end });
  } catch (error) {
    tell(failure(id, error));
  } finally {
    runs.delete(id);
    loaded.idle.push(sequence);
    waiting.shift()?.();
  }
}

/** Only our own errors keep their words: others might quote the text. */
function failure(id: number, error: unknown): HostEvent {
  const known = error instanceof EngineError ? error : new EngineError("ENGINE_FAILED", "the engine failed");
  return { type: "failed", run: id, code: known.code, message: known.message };
}

process.on("message", (command: HostCommand) => {
  if (command.type === "load") void load(command.options);
  else if (command.type === "generate") void run(command.run, command.request);
  else runs.get(command.run)?.abort();
});
// The worker decides when its engine ends; a Ctrl-C reaches the whole process group.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit(0));
