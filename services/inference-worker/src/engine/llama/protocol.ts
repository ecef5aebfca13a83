import { type EngineErrorCode, type GenerationRequest, isEngineErrorCode, type Usage } from "../engine.ts";

/** Worker → engine process. `run` names one generation; numbers are never used twice in a process's life. */
export type HostCommand =
  | { type: "load"; options: LoadOptions }
  | { type: "generate"; run: number; request: GenerationRequest }
  | { type: "cancel"; run: number };

export interface LoadOptions {
  modelPath: string;
  /** Context of each sequence; the model's own where that is smaller. */
  contextTokens: number;
  /** How many generations run side by side. */
  sequences: number;
  threads: number;
  /** How many tokens of a prompt are worked off before a cancellation is looked at. */
  batchTokens: number;
}

/** Engine process → worker. Every run ends with exactly one `done` or `failed`, also a cancelled one. */
export type HostEvent =
  | { type: "loaded"; contextTokens: number }
  | { type: "unusable"; message: string }
  /** Part of a prompt was read: a sign of life. */
  | { type: "progress"; run: number }
  | { type: "text"; run: number; text: string; tokens: number }
  | { type: "done"; run: number; finishReason: "stop" | "length"; usage: Usage }
  | { type: "failed"; run: number; code: EngineErrorCode; message: string };

const maxTextCharacters = 65_536;
const maxMessageCharacters = 512;
const maxCount = 2 ** 31;

/**
 * The engine process parses model files and runs native code, so what it says is checked like any stranger's word.
 * Undefined: not an event, the process is to be ended.
 */
export function parseHostEvent(value: unknown): HostEvent | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const event = value as Record<string, unknown>;
  const run = event.run as number;
  switch (event.type) {
    case "loaded":
      return isCount(event.contextTokens) ? { type: "loaded", contextTokens: event.contextTokens } : undefined;
    case "unusable":
      return { type: "unusable", message: shortMessage(event.message) };
    case "progress":
      return isCount(run) ? { type: "progress", run } : undefined;
    case "text": {
      const { text, tokens } = event;
      if (!isCount(run) || !isCount(tokens) || typeof text !== "string") return undefined;
      return text.length <= maxTextCharacters ? { type: "text", run, text, tokens } : undefined;
    }
    case "done":
      return isCount(run) ? parseDone(run, event) : undefined;
    case "failed":
      if (!isCount(run) || !isEngineErrorCode(event.code)) return undefined;
      return { type: "failed", run, code: event.code, message: shortMessage(event.message) };
    default:
      return undefined;
  }
}

function parseDone(run: number, { finishReason, usage }: Record<string, unknown>): HostEvent | undefined {
  if (finishReason !== "stop" && finishReason !== "length") return undefined;
  if (typeof usage !== "object" || usage === null) return undefined;
  const { promptTokens, completionTokens } = usage as Record<string, unknown>;
  if (!isCount(promptTokens) || !isCount(completionTokens)) return undefined;
  return { type: "done", run, finishReason, usage: { promptTokens, completionTokens } };
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maxCount;
}

function shortMessage(value: unknown): string {
  return typeof value === "string" ? value.slice(0, maxMessageCharacters) : "no reason given";
}
