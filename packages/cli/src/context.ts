/** What every command gets: options, output, and on demand the platform's addresses and a caller's token. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import {
  AppError,
  type CallOptions,
  type Client,
  createClient,
  formatAddress,
  parseAddress,
} from "@sallyport/runtime/client";
import { type ExitCode, UsageError } from "./exit-codes.ts";
import { type Io, plain } from "./io.ts";

const maxFileBytes = 64 * 1024 * 1024;
const repository = fileURLToPath(new URL("../../..", import.meta.url));

export interface GlobalOptions {
  json?: boolean;
  home?: string;
  as?: string;
  timeout: number;
}

/** Parts of `endpoints.json` that the commands use. */
export interface Endpoints {
  gatewayGrpc: string;
  governanceGrpc: string;
  auditGrpc: string;
  ca: string;
  trustBundle: string;
  trustRoot: string;
  nats: string;
  issuer: string;
  health: Record<string, string>;
}

type ServerName = "gateway" | "governance" | "audit";

export class Context {
  readonly io: Io;
  readonly #options: GlobalOptions;
  /** Set by a command that ended well but not with "done". */
  exitCode: ExitCode = 0;

  constructor(io: Io, options: GlobalOptions) {
    this.io = io;
    this.#options = options;
  }

  get json(): boolean {
    return this.#options.json === true;
  }

  get home(): string {
    return resolve(this.#options.home ?? this.io.env.SALLYPORT_HOME ?? join(repository, ".sallyport"));
  }

  /** `value` as one line of JSON, or what `lines` says about it. */
  print(value: unknown, lines: () => string | string[]): void {
    const text = this.json ? JSON.stringify(value) : plain([lines()].flat().join("\n"));
    if (text !== "") this.io.out(`${text}\n`);
  }

  /** For a person only; nothing with --json. */
  note(text: string): void {
    if (!this.json) this.io.err(`${plain(text)}\n`);
  }

  endpoints(): Endpoints {
    const file = join(this.home, "endpoints.json");
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (cause) {
      const message = `${file} is not there: start the platform (npm start), or name its home with --home`;
      throw new AppError("UNAVAILABLE", message, { reason: "NOT_STARTED", cause });
    }
    try {
      return JSON.parse(text) as Endpoints;
    } catch (cause) {
      throw new AppError("INTERNAL", `${file} is not JSON`, { reason: "ENDPOINTS_INVALID", cause });
    }
  }

  /** A path of `endpoints.json` may be relative to the home. */
  file(path: string): string {
    return resolve(this.home, path);
  }

  /** --timeout, or less. */
  waitMs(atMost: number): number {
    return Math.min(this.#options.timeout * 1_000, atMost);
  }

  /** Runs `use` with a client of `service` on `server`, and closes it. */
  async call<S extends DescService, T>(
    server: ServerName,
    service: S,
    use: (client: Client<S>) => Promise<T>,
  ): Promise<T> {
    const endpoints = this.endpoints();
    const address = parseAddress(endpoints[`${server}Grpc`]);
    const ca = readFileSync(this.file(endpoints.ca));
    const client = createClient(service, { address, tls: { ca }, serverName: server });
    try {
      return await use(client);
    } catch (error) {
      throw unreached(error) ? nobodyAt(`${server} at ${formatAddress(address)}`, error) : error;
    } finally {
      client.close();
    }
  }

  /** Call options with the token of --as, or of `caller`. Throws UNAUTHENTICATED when there is no such file. */
  options(caller: string, timeoutSeconds = this.#options.timeout): CallOptions {
    const name = this.#options.as ?? caller;
    if (!/^[a-z0-9-]{1,64}$/.test(name))
      throw new UsageError(`--as: ${JSON.stringify(name)} is not a credential's name`);
    const file = join(this.home, "credentials", `${name}.token`);
    let bearer: string;
    try {
      bearer = readFileSync(file, "utf8").trim();
    } catch (cause) {
      throw new AppError("UNAUTHENTICATED", `there is no credential ${file}`, { reason: "TOKEN_MISSING", cause });
    }
    return { deadlineMs: timeoutSeconds * 1_000, signal: this.io.signal, bearer };
  }
}

/** Nobody answered: what a service says itself has a reason of its own. */
function unreached(error: unknown): boolean {
  return error instanceof AppError && error.code === "UNAVAILABLE" && error.reason === "UNAVAILABLE";
}

/** The runtime does not say where (an error may be passed on to a caller); here the caller has the address itself. */
function nobodyAt(where: string, cause: unknown): AppError {
  return new AppError("UNAVAILABLE", `${where} cannot be reached; is the platform running? See sallyport status`, {
    cause,
  });
}

/** Throws UsageError, which names the file. */
export function readInput(file: string): Buffer {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= maxFileBytes) return bytes;
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
  throw new UsageError(`${file} is larger than ${maxFileBytes} bytes`);
}
