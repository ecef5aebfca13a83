/** Postgres over TLS with full verification: a bounded pool, timeouts everywhere, and transactions that outlive a crash. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import pg from "pg";
import { backoff, delay } from "../clock.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { reloadFiles } from "../reload.ts";
import { commitUnknown, hasReason, isCollision, isLostConnection, unavailable } from "./failures.ts";
import { countTransaction, observePool } from "./metrics.ts";
import { Session } from "./session.ts";

export interface QueryResult<Row> {
  rows: Row[];
  rowCount: number;
}

export interface Queryable {
  /** Values are `$1`, `$2`, …; bigint columns come back as strings. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<QueryResult<Row>>;
}

/** One open transaction; unusable once its function has returned. */
export interface Tx extends Queryable {
  readonly transaction?: never;
  /** A statement whose answer does not matter, sent without waiting: when it fails, so does the whole transaction. */
  send(text: string, values?: readonly unknown[]): void;
}

export interface TransactionOptions {
  /** Reruns at most this often (5) … */
  attempts?: number;
  /** … and begins none after this time (10 s). */
  withinMs?: number;
  /** One statement without values that goes with BEGIN, in one message; `fn` can wait for how many rows it changed. */
  opening?: string;
}

export interface Db extends Queryable, AsyncDisposable {
  /**
   * Runs `fn` between BEGIN and COMMIT (read committed). `fn` may run again: after a collision (40001, 40P01), or when
   * the connection was lost before COMMIT was sent, because then nothing of it happened; so it has no effect but through
   * `tx`. UNAVAILABLE/DATABASE_UNAVAILABLE: nothing was stored. UNAVAILABLE/COMMIT_UNKNOWN: it may have been.
   */
  transaction<T>(fn: (tx: Tx, opened: Promise<number>) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Waits for running queries, then closes all connections. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** `postgres://role@host:port/database`, without password or parameters. */
  url: string;
  /** Read again for every new connection, so that a rotated password is picked up. */
  passwordFile: string;
  /** PEM of the only CA that is trusted; the certificate must carry the host of `url`. */
  caFile: string;
  log: Logger;
  /** Most connections at a time (8). */
  max?: number;
  /** Shown in pg_stat_activity (sallyport). */
  applicationName?: string;
  statementTimeoutMs?: number;
}

const defaultConnections = 8;
const connectTimeoutMs = 5_000;
const statementTimeoutMs = 10_000;
const lockTimeoutMs = 5_000;
const idleInTransactionTimeoutMs = 30_000;
/** On top of the server's own timeout, for a server that does not answer at all. */
const answerGraceMs = 2_000;
const retryBaseMs = 50;
const retryMaxMs = 1_000;

/** Opens the pool; connects when first used. Throws INVALID_ARGUMENT for a URL that it does not take. */
export async function openDatabase(options: DatabaseOptions): Promise<Db> {
  const target = parseDatabaseUrl(options.url);
  const timeoutMs = options.statementTimeoutMs ?? statementTimeoutMs;
  const max = options.max ?? defaultConnections;
  const pool = new pg.Pool({
    ...target,
    password: async () => (await readFile(options.passwordFile, "utf8")).trim(),
    ssl: tlsOf(options.caFile, target.host, options.log),
    max,
    application_name: options.applicationName ?? "sallyport",
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: timeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    query_timeout: timeoutMs + answerGraceMs,
    keepAlive: true,
    // What is sent without waiting really goes out; each statement still has its own answer.
    pipeline: true,
  } as pg.PoolConfig);
  // Without a listener an idle connection that breaks would end the process.
  pool.on("error", (err) => options.log.warn({ err }, "lost an idle database connection"));
  return new PooledDatabase(pool, observePool(pool, max));
}

/** Asked for its CA at each new connection. `host` makes tls check the name also where it is an IP address, without SNI. */
function tlsOf(caFile: string, host: string, log: Logger): object {
  const ca = reloadFiles("database-ca", [caFile], () => readFileSync(caFile, "utf8"), log);
  return {
    get ca() {
      return ca.current;
    },
    rejectUnauthorized: true,
    host,
  };
}

/** Throws INVALID_ARGUMENT: a password or `sslmode` in the URL would quietly replace the file and the verification. */
export function parseDatabaseUrl(url: string): { host: string; port: number; user: string; database: string } {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isPostgres = parsed?.protocol === "postgres:" || parsed?.protocol === "postgresql:";
  const database = decodeURIComponent(parsed?.pathname.slice(1) ?? "");
  if (!parsed || !isPostgres || parsed.hostname === "" || parsed.username === "" || database === "") {
    throw new AppError("INVALID_ARGUMENT", "a database URL is postgres://role@host:port/database");
  }
  if (parsed.password !== "" || parsed.search !== "" || parsed.hash !== "") {
    throw new AppError("INVALID_ARGUMENT", "a database URL has no password and no parameters");
  }
  const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(parsed.port || 5432), user: decodeURIComponent(parsed.username), database };
}

class PooledDatabase implements Db {
  readonly #pool: pg.Pool;
  readonly #metrics: Disposable;

  constructor(pool: pg.Pool, metrics: Disposable) {
    this.#pool = pool;
    this.#metrics = metrics;
  }

  /** One statement, its own transaction. Run again only where nothing can have happened twice: before it was sent, or a SELECT. */
  async query<Row>(text: string, values: readonly unknown[] = []): Promise<QueryResult<Row>> {
    const reads = /^\s*select\b/i.test(text);
    return await this.#retrying({}, async () => {
      const session = new Session(await this.#pool.connect());
      try {
        return await session.query<Row>(text, values);
      } catch (error) {
        throw isLostConnection(error) && !reads ? commitUnknown(error) : error;
      } finally {
        session.release();
      }
    });
  }

  async transaction<T>(
    fn: (tx: Tx, opened: Promise<number>) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return await countTransaction(() => this.#retrying(options, () => this.#once(fn, options.opening)));
  }

  async #once<T>(fn: (tx: Tx, opened: Promise<number>) => Promise<T>, opening: string | undefined): Promise<T> {
    const session = new Session(await this.#pool.connect());
    try {
      const opened = session.begin(opening);
      // Whoever sends the next statement hears of its failure.
      opened.catch(() => undefined);
      const value = await fn(session.use(), opened);
      await opened;
      await session.commit();
      return value;
    } catch (error) {
      await session.rollback();
      // What `fn` made of a broken connection does not matter: nothing was stored, it may run again.
      throw hasReason(error, "COMMIT_UNKNOWN") ? error : (session.lost ?? error);
    } finally {
      session.release();
    }
  }

  async #retrying<T>({ attempts = 5, withinMs = 10_000 }: TransactionOptions, run: () => Promise<T>): Promise<T> {
    const endsAt = performance.now() + withinMs;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await run();
      } catch (error) {
        const lost = isLostConnection(error);
        if (!lost && !isCollision(error)) throw error;
        const waitMs = backoff(attempt, { baseMs: retryBaseMs, maxMs: retryMaxMs });
        if (attempt >= attempts || performance.now() + waitMs > endsAt) throw lost ? unavailable(error) : error;
        await delay(waitMs);
      }
    }
  }

  async close(): Promise<void> {
    this.#metrics[Symbol.dispose]();
    if (!this.#pool.ending) await this.#pool.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
