import { beforeAll, describe, expect, it } from "vitest";
import { Evaluator } from "../src/engine/evaluator.ts";
import {
  bundleDigest,
  bundleFromState,
  type DecisionInput,
  defaultBundleDir,
  loadBundle,
  maxPackedBytes,
  type PolicyBundle,
  PolicyEngine,
  packBundle,
  policyFromState,
  policyToState,
  readBundle,
  runBundleTests,
  unpackBundle,
} from "../src/index.ts";

let bundle: PolicyBundle;
let engine: PolicyEngine;

beforeAll(() => {
  bundle = loadBundle(defaultBundleDir);
  engine = PolicyEngine.create(bundle);
});

/** The bundle with some files changed; undefined removes one. */
function variant(changes: Record<string, string | Uint8Array | undefined>): Map<string, Uint8Array> {
  const files = new Map(bundle.files);
  for (const [path, contents] of Object.entries(changes)) {
    if (contents === undefined) files.delete(path);
    else files.set(path, typeof contents === "string" ? Buffer.from(contents) : contents);
  }
  return files;
}

const tierOrder = ["small", "standard", "large", "sensitive"];
/** "<model> <tier>", by model and then by tier. */
function byModel(one: string, two: string): number {
  const [[a = "", x = ""], [b = "", y = ""]] = [one.split(" "), two.split(" ")];
  return a === b ? tierOrder.indexOf(x) - tierOrder.indexOf(y) : a < b ? -1 : 1;
}

type Data = { config: Record<string, never> & { categories: Record<string, { thresholds: Record<string, unknown> }> } };

function withData(edit: (data: Data) => void): PolicyEngine {
  const data = structuredClone(bundle.data) as Data;
  edit(data);
  return PolicyEngine.create(readBundle(variant({ "data.json": JSON.stringify(data) })));
}

function input(category: string | undefined, severity = 1): DecisionInput {
  const hit = {
    ruleId: "r",
    category: category ?? "",
    severity,
    view: "folded",
    contexts: [],
    trust: "caller" as const,
  };
  return {
    stage: "door1",
    modality: "text",
    operation: "chat",
    identity: { tenant: "t", subject: "s", groups: ["sallyport-users"] },
    model: { name: "m", tier: "standard" },
    hits: category === undefined ? [] : [hit],
    links: [],
    scores: [],
    facts: {
      length: 0,
      parts: 1,
      truncated: false,
      invisible: 0,
      bidi: 0,
      tags: 0,
      marks: 0,
      lookalikes: false,
      spacedOut: false,
    },
  };
}

describe("the default bundle", () => {
  it("passes its own cases", () => {
    const results = runBundleTests(bundle);
    expect(results.filter((test) => !test.passed)).toEqual([]);
    expect(results.length).toBeGreaterThan(100);
  });

  it("reports a case that does not hold, so that a green run means something", () => {
    const cases = { cases: [{ name: "wrong on purpose", judge: { text: "hello" }, expect: { decision: "deny" } }] };
    const results = runBundleTests(readBundle(variant({ "tests/wrong.json": JSON.stringify(cases) })));
    expect(results.filter((test) => !test.passed).map((test) => test.name)).toEqual(["wrong on purpose"]);
  });
});

describe("bundles", () => {
  it("survive packing with the same digest", () => {
    const packed = packBundle(bundle);
    expect(packed.length).toBeLessThan(maxPackedBytes);
    expect(bundleDigest(unpackBundle(packed))).toBe(bundleDigest(bundle));
    expect(policyFromState(policyToState(bundle)).digest).toBe(engine.digest);
  });

  it("change their digest with any byte of any file", () => {
    for (const path of bundle.files.keys()) {
      const bytes = Uint8Array.from(bundle.files.get(path) as Uint8Array);
      bytes[0] = (bytes[0] as number) ^ 1;
      expect(bundleDigest({ files: variant({ [path]: bytes }) }), path).not.toBe(engine.digest);
    }
  });

  it.each([
    ["Rego edited but not compiled", { "rego/authz.rego": "package sallyport" }],
    ["Rego added but not compiled", { "rego/extra.rego": "package sallyport" }],
    ["another WebAssembly file", { "dist/policy.wasm": "\0asm" }],
    ["no manifest", { "dist/manifest.json": undefined }],
    ["no data", { "data.json": undefined }],
    ["broken data", { "data.json": "{" }],
    ["data without settings", { "data.json": '{"config":{}}' }],
    ["a missing rule file", { "rules/core.json": undefined }],
    ["a foreign file", { "bin/sh": "x" }],
  ])("are refused with %s", (_, changes) => {
    expect(() => readBundle(variant(changes))).toThrow(expect.objectContaining({ code: "BUNDLE_INVALID" }));
  });

  it("are refused when rules name lists that do not exist", () => {
    const rules = { id: "x", languages: [], rules: [{ id: "x", category: "c", severity: 1, any: ["nowhere"] }] };
    const broken = readBundle(variant({ "rules/core.json": JSON.stringify(rules) }));
    expect(() => PolicyEngine.create(broken)).toThrow(expect.objectContaining({ code: "BUNDLE_INVALID" }));
  });

  it("are refused as state when altered or garbage", () => {
    const state = policyToState(bundle);
    const invalid = expect.objectContaining({ code: "BUNDLE_INVALID" });
    expect(() => bundleFromState({ ...state, digest: "0".repeat(64) })).toThrow(invalid);
    expect(() => bundleFromState({ ...state, bundle: state.bundle.slice(0, -400) })).toThrow(invalid);
    expect(() => bundleFromState({ ...state, bundle: "" })).toThrow(invalid);
    expect(() => bundleFromState(null)).toThrow(invalid);
  });
});

describe("decisions", () => {
  it("flip by editing data alone", () => {
    const flips: [string, string, string][] = [
      ["test_block", "deny", "hold"],
      ["test_review", "hold", "allow"],
      ["hate", "deny", "mask"],
    ];
    for (const [category, before, action] of flips) {
      expect(engine.decide(input(category)).decision).toBe(before);
      const edited = withData((data) => {
        (data.config.categories[category] as { thresholds: object }).thresholds = {
          door1: { [action]: 0.5 },
          door2: {},
        };
      });
      expect(edited.decide(input(category)).decision).toBe(action === "mask" ? "sanitise" : action);
      expect(edited.digest).not.toBe(engine.digest);
    }
  });

  it("flip for roles and models by editing data alone", () => {
    const request = {
      identity: { tenant: "t", subject: "s", groups: ["sallyport-users"] },
      action: "chat",
      resource: { model: "m", tier: "standard" },
    };
    expect(engine.authorise(request)).toEqual({ allow: true, reason: "OK" });
    const edited = withData((data) => {
      const { user } = (data.config as unknown as { roles: { user: { groups: string[] } } }).roles;
      user.groups = ["others"];
    });
    expect(edited.authorise(request)).toEqual({ allow: false, reason: "NO_ROLE" });
  });

  it("bind a role to model, operation and tier together: two roles add up, and do not mix", () => {
    const edited = withData((data) => {
      const { roles } = data.config as unknown as { roles: Record<string, unknown> };
      const tiered = (models: string[], tiers: string[]) => ({ models, tiers });
      roles.writers = { groups: ["writers"], actions: { chat: tiered(["a", "b"], ["small"]), "models.list": {} } };
      roles.research = { groups: ["research"], actions: { chat: tiered(["b", "c"], ["large", "sensitive"]) } };
    });
    const allowed = (groups: string[]) =>
      ["a", "b", "c", "d"].flatMap((model) =>
        ["small", "standard", "large", "sensitive"]
          .filter((tier) => {
            const identity = { tenant: "t", subject: "s", groups };
            return edited.authorise({ identity, action: "chat", resource: { model, tier } }).allow;
          })
          .map((tier) => `${model} ${tier}`),
      );
    const [writers, research] = [
      ["a small", "b small"],
      ["b large", "b sensitive", "c large", "c sensitive"],
    ];
    expect(allowed(["writers"])).toEqual(writers);
    expect(allowed(["research"])).toEqual(research);
    expect(allowed(["writers", "research"])).toEqual([...writers!, ...research!].sort(byModel));
    expect(allowed(["others"])).toEqual([]);
    const list = { action: "models.list", resource: { model: "c", tier: "large" } };
    const identity = { tenant: "t", subject: "s", groups: ["research"] };
    expect(edited.authorise({ identity, ...list }).reason).toBe("NOT_PERMITTED");
  });

  it("are the same for the same input, byte for byte", () => {
    const other = PolicyEngine.create(loadBundle(defaultBundleDir));
    for (const category of ["hate", "ncii", "credentials"]) {
      const once = JSON.stringify(engine.decide(input(category)));
      expect(JSON.stringify(engine.decide(input(category)))).toBe(once);
      expect(JSON.stringify(other.decide(input(category)))).toBe(once);
    }
  });

  it("deny malformed input instead of allowing it", () => {
    for (const broken of [
      {},
      { stage: "door1" },
      { ...input(undefined), hits: undefined },
      { ...input(undefined), facts: {} },
    ]) {
      expect(engine.decide(broken as DecisionInput).decision).toBe("deny");
      expect(engine.authorise(broken as never).allow).toBe(false);
    }
  });

  it("have public words for every code they can name", () => {
    const finding = engine.decide(input("test_block")).findings[0];
    expect(engine.describe(finding?.code as string)?.whatToDo).toMatch(/\w/);
    expect(engine.describe("constructor")).toBeUndefined();
  });
});

describe("failure", () => {
  it("is an error and never a decision, and the next evaluation works", () => {
    const unavailable = expect.objectContaining({ code: "POLICY_UNAVAILABLE" });
    const cyclic = input(undefined) as DecisionInput & { self?: unknown };
    cyclic.self = cyclic;
    expect(() => engine.decide(cyclic)).toThrow(unavailable);
    const huge = { ...input(undefined), operation: "x".repeat(40 * 1024 * 1024) };
    expect(() => engine.decide(huge)).toThrow(unavailable);
    expect(engine.decide(input(undefined)).decision).toBe("allow");
  });

  it("covers entry points without a result", () => {
    const evaluator = new Evaluator(bundle.wasm, bundle.data as object);
    expect(() => evaluator.evaluate("sallyport/nothing", {})).toThrow(
      expect.objectContaining({ code: "POLICY_UNAVAILABLE" }),
    );
  });

  it("covers decisions of an unknown kind", () => {
    const edited = withData((data) => {
      (data.config as unknown as { retention: Record<string, unknown> }).retention = { allow: 7, deny: 7 };
    });
    expect(() => edited.decide(input(undefined))).toThrow(expect.objectContaining({ code: "POLICY_UNAVAILABLE" }));
  });
});

describe("memory", () => {
  it("stays bounded over 100,000 evaluations", () => {
    const evaluator = PolicyEngine.create(bundle);
    const inputs = [
      input(undefined),
      input("hate"),
      input("credentials"),
      { ...input("ncii"), operation: "x".repeat(20_000) },
    ];
    let most = 0;
    for (let i = 0; i < 100_000; i++) {
      evaluator.decide(inputs[i % inputs.length] as DecisionInput);
      most = Math.max(most, evaluator.memoryBytes);
    }
    expect(most).toBeLessThan(8 * 1024 * 1024);
  }, 120_000);

  it("is given back after a very large input", () => {
    const evaluator = PolicyEngine.create(bundle);
    evaluator.decide({ ...input(undefined), operation: "x".repeat(4 * 1024 * 1024) });
    evaluator.decide(input(undefined));
    expect(evaluator.memoryBytes).toBeLessThan(8 * 1024 * 1024);
  });
});
