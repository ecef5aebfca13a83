import { describe, expect, test } from "vitest";
import { readManifest } from "./manifest.ts";
import { findApproved, planModels, servedNames } from "./model-table.ts";

const digest = (n: number) => n.toString(16).padStart(2, "0").repeat(32);
const entry = (name: string, n: number, rest: Record<string, unknown> = {}) => ({
  ...{ name, version: "1", digest: digest(n), engine: "llama", sizeBytes: 10, contextTokens: 512, tier: "small" },
  ...{ licence: "Apache-2.0", approvedAt: "2026-01-01T00:00:00.000Z" },
  ...rest,
});
const remote = { engine: "remote", remoteEndpoint: "vllm", remoteModel: "big" };
const table = (models: unknown[], rest: Partial<Parameters<typeof planModels>[0]> = {}) =>
  planModels({
    manifest: readManifest({ models }),
    ...{
      present: new Set([digest(1), digest(2)]),
      endpoints: new Set<string>(),
      loaded: new Set<string>(),
      maxModels: 4,
    },
    ...rest,
  });
const names = (models: readonly { name: string }[]) => models.map(({ name }) => name);

describe("which models run", () => {
  test("approved ones whose file is here, each file once", () => {
    const plan = table([entry("a", 1), entry("alias", 1), entry("b", 2), entry("absent", 3)]);
    expect(names(plan.start)).toEqual(["a", "b"]);
  });

  test("remote ones whose endpoint is configured", () => {
    const models = [entry("far", 5, remote)];
    expect(table(models).start).toEqual([]);
    expect(names(table(models, { endpoints: new Set(["vllm"]) }).start)).toEqual(["far"]);
  });

  test("what is not in the manifest any more is stopped", () => {
    const plan = table([entry("a", 1)], { loaded: new Set([digest(1), digest(2)]) });
    expect(plan).toEqual({ start: [], stop: [digest(2)], surplus: [] });
  });

  test("not more than the limit; a revoked one makes room", () => {
    expect(names(table([entry("a", 1), entry("b", 2)], { maxModels: 1 }).surplus)).toEqual(["b"]);
    const plan = table([entry("b", 2)], { maxModels: 1, loaded: new Set([digest(1)]) });
    expect(plan.stop).toEqual([digest(1)]);
    expect(names(plan.start)).toEqual(["b"]);
  });

  test("a name is served while one of its versions is loaded; approval is of name and digest", () => {
    const manifest = readManifest({ models: [entry("a", 1), entry("a", 2, { version: "2" }), entry("b", 3)] });
    expect(servedNames(manifest, new Set([digest(2)]))).toEqual(new Set(["a"]));
    expect(findApproved(manifest, "a", digest(2))?.version).toBe("2");
    expect(findApproved(manifest, "b", digest(2))).toBeUndefined();
  });
});

describe("a manifest", () => {
  test("with models of engines of other workers keeps the rest", () => {
    expect(
      readManifest({ models: [entry("a", 1), entry("pictures", 2, { engine: "diffusion" })] }).models,
    ).toHaveLength(1);
  });

  test.each([
    ["no object", []],
    ["no list", { models: {} }],
    ["a path for a digest", { models: [entry("a", 1, { digest: "../../etc/passwd" })] }],
    ["an upper-case digest", { models: [entry("a", 1, { digest: "AB".repeat(32) })] }],
    ["no context", { models: [entry("a", 1, { contextTokens: 0 })] }],
    ["a fractional size", { models: [entry("a", 1, { sizeBytes: 1.5 })] }],
    ["a remote model without endpoint", { models: [entry("a", 1, { engine: "remote" })] }],
    ["a name that is a number", { models: [entry("a", 1, { name: 7 })] }],
  ])("with %s is refused whole", (_, value) => {
    expect(() => readManifest(value)).toThrow(TypeError);
  });
});
