/** Environment → one frozen configuration; the only reader of process.env. */
import { fileURLToPath } from "node:url";
import { readEnv, serviceConfig } from "@sallyport/runtime";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const shippedGuardPrompt = fileURLToPath(new URL("../prompts/guard.txt", import.meta.url));

export function readConfig(source: Readonly<Record<string, string | undefined>>) {
  return readEnv(source, (env) => ({
    ...serviceConfig(env),
    signingKeyFile: env.file("SIGNING_KEY_FILE"),
    encryptionKeyFile: env.file("ENCRYPTION_KEY_FILE"),
    modelStoreDir: env.directory("MODEL_STORE_DIR"),
    remoteEndpoints: env.json("REMOTE_ENDPOINTS", readEndpoints, { default: {} }),
    guardPromptFile: env.has("GUARD_PROMPT_FILE") ? env.file("GUARD_PROMPT_FILE") : shippedGuardPrompt,
    maxModels: env.int("MAX_MODELS", { default: 4, min: 1, max: 64 }),
    /** Generations side by side, of each model. */
    sequences: env.int("ENGINE_SEQUENCES", { default: 2, min: 1, max: 64 }),
    /** Generations side by side, of each model of a server in the chamber: that one does the work. */
    remoteSequences: env.int("REMOTE_SEQUENCES", { default: 32, min: 1, max: 64 }),
    /** More than one slows small models down on shared cores. */
    threads: env.int("ENGINE_THREADS", { default: 1, min: 1, max: 256 }),
    batchTokens: env.int("ENGINE_BATCH_TOKENS", { default: 512, min: 32, max: 8_192 }),
    startupTimeoutMs: env.duration("ENGINE_STARTUP_TIMEOUT", limits(2 * minuteMs, secondMs, 60 * minuteMs)),
    stallTimeoutMs: env.duration("ENGINE_STALL_TIMEOUT", limits(15 * secondMs, 100, 10 * minuteMs)),
    readyTimeoutMs: env.duration("ENGINE_READY_TIMEOUT", limits(10 * secondMs, 100, 10 * minuteMs)),
    remoteConnectTimeoutMs: env.duration("REMOTE_CONNECT_TIMEOUT", limits(2 * secondMs, 100, minuteMs)),
    remoteFirstByteTimeoutMs: env.duration("REMOTE_FIRST_BYTE_TIMEOUT", limits(15 * secondMs, 100, 10 * minuteMs)),
    remoteIdleTimeoutMs: env.duration("REMOTE_IDLE_TIMEOUT", limits(15 * secondMs, 100, 10 * minuteMs)),
    windowTokens: env.int("WINDOW_TOKENS", { default: 24, min: 1, max: 1_024 }),
    sampling: {
      maxTokens: env.int("DEFAULT_MAX_TOKENS", { default: 512, min: 1, max: 1_000_000 }),
      /** In hundredths. Low: answers are to be steady unless the caller wants otherwise. */
      temperature: env.int("DEFAULT_TEMPERATURE_PERCENT", { default: 30, min: 0, max: 200 }) / 100,
      topP: env.int("DEFAULT_TOP_P_PERCENT", { default: 95, min: 0, max: 100 }) / 100,
      topK: env.int("DEFAULT_TOP_K", { default: 40, min: 0, max: 100_000 }),
    },
  }));
}

export type Config = ReturnType<typeof readConfig>;

function limits(defaultMs: number, minMs: number, maxMs: number) {
  return { default: defaultMs, minMs, maxMs };
}

/** Name → base URL; no credentials in it, since it is logged. */
function readEndpoints(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("must be a JSON object");
  const endpoints: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) {
    const url = typeof text === "string" ? URL.parse(text) : null;
    const plain = url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
    if (!/^[a-z0-9-]{1,64}$/.test(name) || !plain) throw new Error("must map names to http or https URLs without user");
    endpoints[name] = url.href;
  }
  return endpoints;
}
