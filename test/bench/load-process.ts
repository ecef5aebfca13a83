/**
 * The load generator, a process of its own so that nothing else takes its turn: `concurrency` callers in a closed loop over
 * kept connections. One measurement at a time, asked for and answered over IPC.
 */
import { Pool } from "undici";

export interface Target {
  readonly origin: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON of the request. */
  readonly body: string;
}

export interface Load {
  readonly target: Target;
  readonly concurrency: number;
  /** Begins no request after this. */
  readonly forMs: number;
  /** Or after so many. */
  readonly requests?: number;
  readonly stream: boolean;
}

export interface Measured {
  /** Milliseconds until the last byte, of each answered request. */
  readonly latencies: number[];
  /** Milliseconds until the first piece of text; streams only. */
  readonly firstTokens: number[];
  readonly tookMs: number;
  /** Status or error → how often. An answer without the text counts as one. */
  readonly failures: Record<string, number>;
}

const answerTimeoutMs = 30_000;
const pools = new Map<string, Pool>();

function poolFor(origin: string, connections: number): Pool {
  const key = `${origin} ${connections}`;
  const known = pools.get(key);
  if (known) return known;
  const pool = new Pool(origin, {
    connections,
    pipelining: 1,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });
  pools.set(key, pool);
  return pool;
}

async function measure(load: Load): Promise<Measured> {
  const { target, concurrency, forMs, requests = Number.POSITIVE_INFINITY } = load;
  const pool = poolFor(target.origin, concurrency);
  const result: Measured = { latencies: [], firstTokens: [], tookMs: 0, failures: {} };
  const startedAt = performance.now();
  let begun = 0;
  const caller = async () => {
    while (performance.now() - startedAt < forMs && begun < requests) {
      begun += 1;
      const failure = await ask(pool, load, result).catch((error: Error) => error.name);
      if (failure) result.failures[failure] = (result.failures[failure] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { ...result, tookMs: performance.now() - startedAt };
}

/** What went wrong, if anything did. */
async function ask(pool: Pool, { target, stream }: Load, result: Measured): Promise<string | undefined> {
  const { path, headers, body } = target;
  const startedAt = performance.now();
  const response = await pool.request({ method: "POST", path, headers, body });
  let text = "";
  let firstAt: number | undefined;
  for await (const part of response.body) {
    text += part;
    if (stream && firstAt === undefined && /"content":\s*"[^"]/.test(text)) firstAt = performance.now();
  }
  const endedAt = performance.now();
  if (response.statusCode !== 200)
    return `status ${response.statusCode}: ${/"code":\s*"([^"]*)"/.exec(text)?.[1] ?? ""}`;
  const isWhole = text.includes("baked.") && (!stream || text.includes("data: [DONE]"));
  if (!isWhole) return "not whole";
  result.latencies.push(endedAt - startedAt);
  if (firstAt !== undefined) result.firstTokens.push(firstAt - startedAt);
  return undefined;
}

process.on("message", (load: Load) => void measure(load).then((measured) => process.send?.(measured)));
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
