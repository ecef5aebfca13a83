/**
 * All that the chamber may tell the outside about itself: names, labels, values. The sender leaves out what is not here, and
 * the reader, who believes nothing, drops it. Text is always one of a list; ids are hex of a fixed length; the rest are
 * numbers. So a compromised worker gets no bytes of its own out, beyond what ids and numbers hold at a bounded rate.
 */
import { requestBuckets } from "../metrics.ts";
import { finishReasons, fits, type SpanKey } from "../vocabulary.ts";

/** What is approved now, by the registry's word and not the chamber's. */
export interface Approved {
  readonly names: ReadonlySet<string>;
  readonly digests: ReadonlySet<string>;
}

export const limits = {
  spansPerMessage: 64,
  attributesPerSpan: 16,
  samplesPerMessage: 400,
  labelsPerSample: 3,
  /** Token buckets of the reader, for each service: a second's worth, and how much may come at once. */
  messages: { perSecond: 4, burst: 40 },
  spans: { perSecond: 200, burst: 2_000 },
  /** Processes of a service that are known at once, and when one that is silent is forgotten. */
  instances: 32,
  silentMs: 60_000,
  /** A span is about now. */
  clockSkewMs: 600_000,
  longestSpanMs: 3_600_000,
} as const;

/** How a run can end, and what else the worker's own code may be told by. */
export const outcomes = [
  "ADMISSION_INVALID",
  "ATTEMPT_LOST",
  "BUS_REFUSED",
  "BUS_UNAVAILABLE",
  "CANCELLED",
  "CONTEXT_OVERFLOW",
  "DEADLINE_EXCEEDED",
  "ENGINE_CRASHED",
  "ENGINE_FAILED",
  "ENGINE_TIMEOUT",
  "ENGINE_UNAVAILABLE",
  "INTERNAL",
  "INVALID_ARGUMENT",
  "MODEL_NOT_APPROVED",
  "MODEL_UNUSABLE",
  "PROMPT_UNUSABLE",
  "REQUEST_INVALID",
  "STATE_STALE",
  "UNAVAILABLE",
  "WORKER_STOPPING",
] as const;

const streams = ["JOBS", "WINDOWS", "DEAD"];
const number = (value: unknown) => typeof value === "number" && Math.abs(value) <= 1e12;
const among = (values: readonly string[]) => (value: unknown) => values.includes(value as string);

type Allowed = (value: unknown, approved: Approved) => boolean;

/** A part of the vocabulary, each value narrower still. */
const attributes: Partial<Record<SpanKey, Allowed>> = {
  "gen_ai.operation.name": among(["chat"]),
  "gen_ai.provider.name": among(["llama", "remote"]),
  "gen_ai.request.model": (value, { names }) => names.has(value as string),
  "gen_ai.request.max_tokens": number,
  "gen_ai.request.temperature": number,
  "gen_ai.request.top_p": number,
  "gen_ai.response.finish_reasons": (value) => Array.isArray(value) && value.every(among(finishReasons)),
  "gen_ai.usage.input_tokens": number,
  "gen_ai.usage.output_tokens": number,
  "messaging.system": among(["nats"]),
  "messaging.destination.name": among(streams),
  "messaging.operation.type": among(["send", "process"]),
  "messaging.operation.name": among(["publish", "process"]),
  "error.type": among(outcomes),
  "sallyport.request.id": () => true,
  "sallyport.attempt": number,
  "sallyport.delivery": number,
  "sallyport.windows": number,
  "sallyport.model.digest": (value, { digests }) => digests.has(value as string),
};

export const chamberKeys: ReadonlySet<string> = new Set(Object.keys(attributes));

export function attributeAllowed(key: string, value: unknown, approved: Approved): boolean {
  return fits(key, value) && (attributes[key as SpanKey]?.(value, approved) ?? false);
}

const spanNames = new Set([...streams.flatMap((stream) => [`publish ${stream}`, `process ${stream}`])]);

export function spanNameAllowed(name: string, { names }: Approved): boolean {
  return spanNames.has(name) || (name.startsWith("chat ") && names.has(name.slice("chat ".length)));
}

type Label = readonly string[] | "model";
interface Family {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: Readonly<Record<string, Label>>;
  readonly buckets?: readonly number[];
}

/** Seconds of a run and until its first token; the worker measures with these. */
export const runBuckets = requestBuckets;

export const chamberMetrics: Readonly<Record<string, Family>> = {
  sallyport_worker_runs_total: {
    type: "counter",
    help: "Runs, by how they ended.",
    labels: { outcome: ["done", ...outcomes] },
  },
  sallyport_worker_tokens_total: { type: "counter", help: "Tokens generated, by model.", labels: { model: "model" } },
  sallyport_worker_windows_total: { type: "counter", help: "Windows handed to door 2.", labels: {} },
  sallyport_worker_running: { type: "gauge", help: "Runs at work.", labels: {} },
  sallyport_worker_sequences: {
    type: "gauge",
    help: "Runs that can be at work at once, by model.",
    labels: { model: "model" },
  },
  sallyport_worker_engine_ready: {
    type: "gauge",
    help: "1 while the engine of an approved model can generate.",
    labels: { model: "model" },
  },
  sallyport_worker_engine_restarts_total: {
    type: "counter",
    help: "Engine processes that died and were started again, by model.",
    labels: { model: "model" },
  },
  sallyport_worker_run_seconds: {
    type: "histogram",
    help: "Duration of runs that ended well.",
    labels: {},
    buckets: runBuckets,
  },
  sallyport_worker_first_token_seconds: {
    type: "histogram",
    help: "From the beginning of a run to its first token.",
    labels: {},
    buckets: runBuckets,
  },
  sallyport_worker_resident_memory_bytes: {
    type: "gauge",
    help: "Resident memory of the worker, without engines.",
    labels: {},
  },
  sallyport_worker_cpu_seconds_total: { type: "counter", help: "CPU time of the worker, without engines.", labels: {} },
  sallyport_worker_event_loop_utilisation: {
    type: "gauge",
    help: "Share of time in which its event loop was busy.",
    labels: {},
  },
  sallyport_worker_telemetry_dropped_total: {
    type: "counter",
    help: "Spans that the worker did not send: too many at once.",
    labels: {},
  },
};

/** The family that a sample belongs to, when its name and every label are allowed. */
export function familyOf(
  name: string,
  labels: Readonly<Record<string, string>>,
  { names }: Approved,
): { family: string; cumulative: boolean } | undefined {
  const [, base = "", suffix = ""] = /^(.*?)(_bucket|_sum|_count)?$/.exec(name) ?? [];
  const family = Object.hasOwn(chamberMetrics, name) ? name : base;
  if (!Object.hasOwn(chamberMetrics, family)) return undefined;
  const { type, labels: allowed, buckets = [] } = chamberMetrics[family]!;
  if ((type === "histogram") !== (family !== name)) return undefined;
  const wanted: Record<string, Label> = { ...allowed };
  if (suffix === "_bucket") wanted.le = [...buckets.map(String), "+Inf"];
  if (Object.keys(wanted).length !== Object.keys(labels).length) return undefined;
  const sound = Object.entries(wanted).every(([label, values]) => {
    const value = labels[label];
    return value !== undefined && (values === "model" ? names.has(value) : values.includes(value));
  });
  return sound ? { family, cumulative: type !== "gauge" } : undefined;
}
