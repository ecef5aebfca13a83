/** One connection taken from the pool, and what became of it. */
import type { Writable } from "node:stream";
import type pg from "pg";
import { AppError } from "../errors.ts";
import type { QueryResult, Tx } from "./database.ts";
import { commitUnknown, isAborted, isLostConnection, isRefusedCommit } from "./failures.ts";

export class Session {
  readonly #client: pg.PoolClient;
  #open = true;
  #dirty = false;
  /** Why the connection broke, if it did. */
  lost: unknown;
  /** Why a statement that nobody waited for failed. */
  #failed: unknown;

  constructor(client: pg.PoolClient) {
    this.#client = client;
    client.on("error", this.#onError);
  }

  readonly #onError = (error: Error): void => {
    this.lost ??= error;
  };

  async query<Row>(text: string, values: readonly unknown[] = []): Promise<QueryResult<Row>> {
    try {
      this.#gather();
      // Without values the simple protocol is used, which takes several statements (migrations).
      const prepared = { name: statementName(text), text, values: [...values] };
      const result = await (values.length === 0 ? this.#client.query(text) : this.#client.query(prepared));
      return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
    } catch (error) {
      if (isLostConnection(error)) this.lost ??= error;
      // Refused because of an earlier one: that one tells why.
      throw this.#failed !== undefined && isAborted(error) ? this.#failed : error;
    }
  }

  /**
   * How many rows `opening` changed. In one message with BEGIN, it never runs without it. Need not be awaited before other
   * statements are sent: where it fails, they do.
   */
  async begin(opening: string | undefined): Promise<number> {
    this.#dirty = true;
    try {
      this.#gather();
      const results = await this.#client.query(opening === undefined ? "BEGIN" : `BEGIN; ${opening}`);
      return (results as unknown as pg.QueryResult[])[1]?.rowCount ?? 0;
    } catch (error) {
      if (isLostConnection(error)) this.lost ??= error;
      this.#failed ??= error;
      throw error;
    }
  }

  /** What is sent in one turn of the event loop leaves in one piece: one TLS record and one system call for all of it. */
  #gather(): void {
    const { stream } = (this.#client as unknown as { connection: { stream: Writable } }).connection;
    if (stream.writableCorked > 0) return;
    stream.cork();
    process.nextTick(() => stream.uncork());
  }

  use(): Tx {
    this.#dirty = true;
    const checkOpen = () => {
      if (!this.#open) throw new AppError("INTERNAL", "a transaction was used after its end");
    };
    return {
      query: async (text, values) => {
        checkOpen();
        return await this.query(text, values);
      },
      send: (text, values) => {
        checkOpen();
        this.query(text, values).catch((error: unknown) => {
          this.#failed ??= error;
        });
      },
    };
  }

  async commit(): Promise<void> {
    this.#open = false;
    // Known before COMMIT is sent: nothing happened, the whole can run again.
    if (this.lost) throw this.lost;
    this.#gather();
    const answer = await this.#client.query("COMMIT").catch((error: unknown) => {
      if (isRefusedCommit(error)) throw error;
      this.lost ??= error;
      throw commitUnknown(error);
    });
    this.#dirty = false;
    // Postgres answers ROLLBACK to the COMMIT of a transaction in which a statement failed.
    if (answer.command === "COMMIT") return;
    throw this.#failed ?? new AppError("INTERNAL", "a failed statement was ignored; nothing was stored");
  }

  /** Never throws: where it cannot be done the connection is dropped, which does the same. */
  async rollback(): Promise<void> {
    this.#open = false;
    if (!this.#dirty || this.lost) return;
    await this.query("ROLLBACK").then(
      () => {
        this.#dirty = false;
      },
      () => undefined,
    );
  }

  release(): void {
    this.#client.off("error", this.#onError);
    this.#client.release(this.#dirty || this.lost !== undefined);
  }
}

const statementNames = new Map<string, string>();
const maxStatements = 500;

/** Parsed and planned once a connection, not at each use. Statements are constants, so there are few; undefined beyond the bound. */
function statementName(text: string): string | undefined {
  const known = statementNames.get(text);
  if (known !== undefined || statementNames.size >= maxStatements) return known;
  const name = `s${statementNames.size + 1}`;
  statementNames.set(text, name);
  return name;
}
