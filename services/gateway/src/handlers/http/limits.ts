/** What the HTTP API takes from a caller before anything is known about it; the README's table says what each answers. */
export const httpLimits = {
  /** Request line and headers together. */
  headerBytes: 16 * 1024,
  headerCount: 64,
  urlChars: 2_048,
  /** Time for the whole head, and for head and body together. */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  /** How often Node looks for connections beyond those times. */
  checkConnectionsEveryMs: 2_000,
  bodyBytes: 1024 * 1024,
  /** A body may take this long, and longer by what it should need at this rate. */
  bodyGraceMs: 5_000,
  bodyBytesPerSecond: 64 * 1024,
  jsonDepth: 32,
  /** Objects, lists, names and plain values together: far more than the largest request that is taken. */
  jsonNodes: 65_536,
  connections: 1_024,
  requestsPerConnection: 1_000,
  keepAliveMs: 5_000,
  /** A caller that takes nothing of its answer for so long is let go: it must not keep its place for ever. */
  slowReaderMs: 30_000,
} as const;

/** The same with other numbers, for tests that do not wait so long. */
export type HttpLimits = { readonly [Name in keyof typeof httpLimits]: number };
