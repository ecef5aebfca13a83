import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { PolicyError } from "../errors.ts";
import type { RuleFile } from "../rules/schema.ts";
import { checkManifest, type PolicyManifest } from "./manifest.ts";
import { type PolicySettings, readSettings } from "./settings.ts";

/** A policy bundle: its files, and what they say once read and checked. */
export interface PolicyBundle {
  /** path inside the bundle, with `/`, → contents */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly manifest: PolicyManifest;
  readonly data: unknown;
  readonly settings: PolicySettings;
  readonly ruleFiles: readonly RuleFile[];
  readonly wasm: Uint8Array<ArrayBuffer>;
}

const wasmPath = "dist/policy.wasm";
const manifestPath = "dist/manifest.json";

/** A packed bundle travels in a signed KV value of at most 512 KiB, in base64. */
export const maxPackedBytes = 380_000;
const maxUnpackedBytes = 16 * 1024 * 1024;
const packFormat = "sallyport-policy/1";
const bundleFile =
  /^(?:data\.json|(?:rules|tests)\/[\w.-]+\.json|rego\/[\w.-]+\.rego|dist\/(?:policy\.wasm|manifest\.json))$/;

/** Whether a file belongs to a bundle, by its path inside it. */
export function isBundleFile(path: string): boolean {
  return bundleFile.test(path);
}

/** Reads and checks a bundle; throws BUNDLE_INVALID. */
export function readBundle(files: ReadonlyMap<string, Uint8Array>): PolicyBundle {
  for (const path of files.keys()) {
    if (!isBundleFile(path)) throw new PolicyError("BUNDLE_INVALID", `unexpected file ${path}`);
  }
  const manifest = checkManifest(readJson(files, manifestPath), files);
  const data = readJson(files, "data.json");
  const settings = readSettings(data);
  const ruleFiles = settings.ruleFiles.map((path) => readJson(files, path) as RuleFile);
  return { files, manifest, data, settings, ruleFiles, wasm: Uint8Array.from(fileOf(files, wasmPath)) };
}

/** Hex SHA-256 over the sorted lines `<hex SHA-256 of file>  <path>\n`, as sha256sum prints them. */
export function bundleDigest(bundle: Pick<PolicyBundle, "files">): string {
  const lines = [...bundle.files.keys()].sort().map((path) => `${sha256(fileOf(bundle.files, path))}  ${path}\n`);
  return sha256(Buffer.from(lines.join("")));
}

/** gzip over JSON; the same files give the same digest whatever packs them. Throws BUNDLE_INVALID when too large. */
export function packBundle(bundle: Pick<PolicyBundle, "files">): Uint8Array {
  const text: Record<string, string> = {};
  const binary: Record<string, string> = {};
  for (const path of [...bundle.files.keys()].sort()) {
    const bytes = Buffer.from(fileOf(bundle.files, path));
    if (path === wasmPath) binary[path] = bytes.toString("base64");
    else text[path] = bytes.toString("utf8");
  }
  const packed = gzipSync(JSON.stringify({ format: packFormat, text, binary }), { level: 9 });
  if (packed.length > maxPackedBytes) {
    throw new PolicyError(
      "BUNDLE_INVALID",
      `the packed bundle has ${packed.length} bytes, at most ${maxPackedBytes} travel`,
    );
  }
  return packed;
}

/** Throws BUNDLE_INVALID on anything that packBundle did not make. */
export function unpackBundle(packed: Uint8Array): PolicyBundle {
  if (packed.length > maxPackedBytes) throw new PolicyError("BUNDLE_INVALID", "the packed bundle is too large");
  const files = new Map<string, Uint8Array>();
  try {
    const value = JSON.parse(gunzipSync(packed, { maxOutputLength: maxUnpackedBytes }).toString("utf8"));
    if (value.format !== packFormat) throw new TypeError("unknown format");
    for (const [path, contents] of Object.entries(value.text)) files.set(path, Buffer.from(String(contents), "utf8"));
    for (const [path, contents] of Object.entries(value.binary))
      files.set(path, Buffer.from(String(contents), "base64"));
  } catch (cause) {
    throw new PolicyError("BUNDLE_INVALID", "the packed bundle cannot be read", cause);
  }
  return readBundle(files);
}

function fileOf(files: ReadonlyMap<string, Uint8Array>, path: string): Uint8Array {
  const bytes = files.get(path);
  if (bytes === undefined) throw new PolicyError("BUNDLE_INVALID", `missing ${path}`);
  return bytes;
}

export function readJson(files: ReadonlyMap<string, Uint8Array>, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(fileOf(files, path)));
  } catch (cause) {
    if (cause instanceof PolicyError) throw cause;
    throw new PolicyError("BUNDLE_INVALID", `${path} is not JSON`, cause);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
