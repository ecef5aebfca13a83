/**
 * Reads a service's configuration from the environment. A value that is set but wrong is a fault, never a default, and
 * all faults are reported together.
 */
import { readFileSync, statSync } from "node:fs";
import { parseAddress, parseDuration, parseInteger, parseUrl } from "./env-values.ts";
import { AppError } from "./errors.ts";

export interface Address {
  host: string;
  port: number;
}

type Source = Readonly<Record<string, string | undefined>>;
type Default<T> = { default?: T };

export interface EnvReader {
  /** Whether the variable is there at all. */
  has(name: string): boolean;
  string(name: string, options?: Default<string> & { pattern?: RegExp; maxLength?: number }): string;
  /** Undefined when not set; set but empty is a fault. */
  optional(name: string): string | undefined;
  int(name: string, options: Default<number> & { min: number; max: number }): number;
  /** `250ms`, `10s`, `5m`, `24h` → milliseconds. */
  duration(name: string, options: Default<number> & { minMs: number; maxMs: number }): number;
  /** `host:port` or `[v6]:port`; port 0 to 65535. */
  address(name: string, options?: Default<Address>): Address;
  /** Normalised; with its scheme among `schemes` (without colon). */
  url(name: string, options: Default<string> & { schemes: readonly string[] }): string;
  oneOf<const T extends string>(name: string, values: readonly T[], options?: Default<T>): T;
  json<T>(name: string, validate: (value: unknown) => T, options?: Default<T>): T;
  /** Path of an existing file. */
  file(name: string): string;
  /** Path of an existing directory. */
  directory(name: string): string;
  /** Contents of the file, less the newline at its end; `redacted` never shows them. */
  secretFile(name: string): string;
}

const secretsOf = new WeakMap<object, ReadonlySet<string>>();
const secretNames = /(password|secret|token|seed|credential|private|masterkey)$/i;

/**
 * Builds a frozen configuration. Throws one AppError (INVALID_ARGUMENT, reason CONFIG_INVALID) that names every fault,
 * without showing the values.
 */
export function readEnv<T extends object>(source: Source, build: (env: EnvReader) => T): T {
  const faults: string[] = [];
  const secrets = new Set<string>();
  let config: T | undefined;
  try {
    config = build(createReader(source, faults, secrets));
  } catch (error) {
    // A value at fault is a placeholder, which `build` may stumble over; without a fault it is a bug of `build`.
    if (faults.length === 0) throw error;
  }
  if (faults.length > 0) {
    throw new AppError("INVALID_ARGUMENT", `configuration: ${faults.join("; ")}`, { reason: "CONFIG_INVALID" });
  }
  secretsOf.set(config!, secrets);
  return deepFreeze(config!);
}

/** The configuration for the log: contents of secret files, passwords in URLs and binary values are left out. */
export function redacted(config: object): Record<string, unknown> {
  const secrets = secretsOf.get(config) ?? new Set<string>();
  const show = (value: unknown, name: string): unknown => {
    if (typeof value === "string") {
      if (secrets.has(value) || secretNames.test(name)) return "[redacted]";
      return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, "$1[redacted]@");
    }
    if (value instanceof Uint8Array) return "[redacted]";
    if (Array.isArray(value)) return value.map((item) => show(item, name));
    if (!isPlain(value)) return typeof value === "object" && value !== null ? "[object]" : value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, show(item, key)]));
  };
  return show({ ...config }, "") as Record<string, unknown>;
}

function createReader(source: Source, faults: string[], secrets: Set<string>): EnvReader {
  /** Reads, parses, notes a fault. Parsers throw an Error with a message that reads well after the name. */
  function read<T>(name: string, parse: (text: string) => T, options: Default<T> = {}): T {
    const text = source[name];
    try {
      if (text === undefined && options.default !== undefined) return options.default;
      if (text === undefined) throw new Error("is not set");
      if (text === "") throw new Error("is empty");
      return parse(text);
    } catch (error) {
      faults.push(`${name} ${(error as Error).message}`);
      return undefined as T;
    }
  }
  const matching = ({ pattern, maxLength = 4_096 }: { pattern?: RegExp; maxLength?: number }) => {
    return (text: string) => {
      if (text.length > maxLength) throw new Error(`is longer than ${maxLength} characters`);
      if (pattern && !pattern.test(text)) throw new Error(`does not match ${pattern}`);
      return text;
    };
  };
  return {
    has: (name) => source[name] !== undefined,
    string: (name, options = {}) => read(name, matching(options), options),
    optional: (name) => (source[name] === undefined ? undefined : read(name, matching({}))),
    int: (name, options) => read(name, parseInteger(options.min, options.max), options),
    duration: (name, options) => read(name, parseDuration(options.minMs, options.maxMs), options),
    address: (name, options) => read(name, parseAddress, options),
    url: (name, options) => read(name, parseUrl(options.schemes), options),
    oneOf: (name, values, options) =>
      read(
        name,
        (text) => {
          const found = values.find((value) => value === text);
          if (found === undefined) throw new Error(`must be one of ${values.join(", ")}`);
          return found;
        },
        options,
      ),
    json: (name, validate, options) => read(name, (text) => validate(parseJson(text)), options),
    file: (name) => read(name, (path) => existing(path, "file")),
    directory: (name) => read(name, (path) => existing(path, "directory")),
    secretFile: (name) =>
      read(name, (path) => {
        const contents = readFileSync(existing(path, "file"), "utf8").replace(/\r?\n$/, "");
        if (contents === "") throw new Error("names an empty file");
        secrets.add(contents);
        return contents;
      }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // JSON.parse quotes its input, which may be secret.
    throw new Error("is not JSON");
  }
}

function existing(path: string, kind: "file" | "directory"): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!(kind === "file" ? found?.isFile() : found?.isDirectory())) throw new Error(`names no ${kind}`);
  return path;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function deepFreeze<T>(value: T): T {
  if (Array.isArray(value) || isPlain(value)) {
    for (const item of Object.values(value)) deepFreeze(item);
    Object.freeze(value);
  }
  return value;
}
