import { createRequire } from "node:module";
import { PolicyError } from "../errors.ts";

/** Memory a policy may take, in pages of 64 KiB: its data twice over and the largest input fit many times. */
const maxPages = 512;
const initialPages = 8;
/** An instance that grew beyond this is replaced by a fresh one before the next evaluation. */
const recycleBytes = 8 * 1024 * 1024;
const recycleEvaluations = 50_000;

interface Instance {
  evaluate(input: unknown, entrypoint: string): unknown;
  setData(data: object): void;
  mem: { buffer: ArrayBuffer };
}

type CompiledModule = object;

// The library's ES module lacks the synchronous loader that its types promise, and its types need those of browsers.
const { loadPolicySync } = createRequire(import.meta.url)("@open-policy-agent/opa-wasm") as {
  loadPolicySync(module: CompiledModule, memory: { initial: number; maximum: number }): Instance;
};
const { Module } = (globalThis as unknown as { WebAssembly: { Module: new (bytes: Uint8Array) => CompiledModule } })
  .WebAssembly;

/**
 * Evaluates compiled Rego. The module's own allocator gives memory back to nobody, so an instance is replaced when it
 * has grown or served long, and after any failure, when its state is unknown. The module is compiled once.
 */
export class Evaluator {
  readonly #module: CompiledModule;
  readonly #data: object;
  #instance: Instance | undefined;
  #served = 0;

  constructor(wasm: Uint8Array<ArrayBuffer>, data: object) {
    try {
      this.#module = new Module(wasm);
      this.#data = data;
      this.#instance = this.#create();
    } catch (cause) {
      throw new PolicyError("BUNDLE_INVALID", "the compiled policy cannot be loaded", cause);
    }
  }

  /** Bytes of WebAssembly memory in use. */
  get memoryBytes(): number {
    return this.#instance?.mem.buffer.byteLength ?? 0;
  }

  /** The value of an entry point; throws POLICY_UNAVAILABLE when there is none, and on any failure. */
  evaluate(entrypoint: string, input: object): unknown {
    let results: unknown;
    try {
      this.#instance ??= this.#create();
      results = this.#instance.evaluate(input, entrypoint);
    } catch (cause) {
      this.#instance = undefined;
      throw new PolicyError("POLICY_UNAVAILABLE", `evaluation of ${entrypoint} failed`, cause);
    }
    if (++this.#served >= recycleEvaluations || this.memoryBytes > recycleBytes) this.#instance = undefined;
    const first = Array.isArray(results) ? results[0] : undefined;
    if (typeof first !== "object" || first === null || !("result" in first)) {
      throw new PolicyError("POLICY_UNAVAILABLE", `${entrypoint} gave no result`);
    }
    return first.result;
  }

  #create(): Instance {
    this.#served = 0;
    const policy = loadPolicySync(this.#module, { initial: initialPages, maximum: maxPages });
    policy.setData(this.#data);
    return policy;
  }
}
