// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the rules read template literals
import { describe, expect, test } from "vitest";
import { boundaries } from "./boundaries.ts";
import { environment } from "./environment.ts";
import { literalSubjects } from "./literal-subjects.ts";
import { unknownMetrics } from "./metrics.ts";
import type { SourceFile, Violation } from "./source-files.ts";

type Rule = (file: SourceFile) => Violation[];

/** Line numbers at which the rule is broken. */
function broken(rule: Rule, path: string, ...lines: string[]): number[] {
  return rule({ path, text: lines.join("\n") }).map(({ line }) => line);
}

describe("a subject is written down in proto/subjects.ts alone", () => {
  const path = "services/gateway/src/service.ts";

  test.each([
    'publish("jobs.pilot.1");',
    "publish(`jobs.${model}.${id}`);",
    "listen('control.*');",
    'listen("verdicts.>");',
    "publish(`audit.${producer}.`);",
  ])("%s", (code) => {
    expect(broken(literalSubjects, path, "const one = 1;", code)).toEqual([2]);
    expect(broken(literalSubjects, "proto/subjects.ts", code)).toEqual([]);
    expect(broken(literalSubjects, "services/gateway/tests/service.test.ts", code)).toEqual([]);
  });

  test.each([
    'can("audit.read");',
    "const id = `dead.${stream}.${sequence}.${at}`;",
    "// jobs.pilot.1",
    'log("jobs");',
  ])("%s is none", (code) => {
    expect(broken(literalSubjects, path, code)).toEqual([]);
  });
});

describe("the environment is read in one place of a service", () => {
  const read = "const level = process.env.LOG_LEVEL;";

  test("not in its handlers, its context or a package", () => {
    for (const path of [
      "services/audit/src/context.ts",
      "services/audit/src/main.ts",
      "packages/runtime/src/logger.ts",
    ])
      expect(broken(environment, path, read), path).toEqual([1]);
  });

  test("main.ts hands it to config.ts", () => {
    const code = "const config = readConfig(process.env);";
    expect(broken(environment, "services/audit/src/main.ts", code)).toEqual([]);
    expect(broken(environment, "services/audit/src/service.ts", code)).toEqual([1]);
  });
});

describe("services meet on the wire", () => {
  test.each([
    ["services/gateway/src/context.ts", "../../audit/src/config.ts"],
    ["services/gateway/tests/context.test.ts", "../../audit/src/config.ts"],
    ["services/gateway/src/context.ts", "@sallyport/audit"],
    ["packages/runtime/src/index.ts", "../../../services/audit/src/config.ts"],
    ["services/gateway/src/context.ts", "@sallyport/runtime/testing"],
    ["services/gateway/src/context.ts", "../tests/fixtures/platform.ts"],
    ["services/gateway/src/context.ts", "@sallyport/infra/platform"],
  ])("%s does not import %s", (path, specifier) => {
    expect(broken(boundaries, path, `import { x } from "${specifier}";`)).toEqual([1]);
    expect(broken(boundaries, path, `const { x } = await import("${specifier}");`)).toEqual([1]);
  });

  test.each([
    ["services/gateway/src/context.ts", "./config.ts"],
    ["services/gateway/src/context.ts", "@sallyport/runtime"],
    ["services/gateway/src/context.ts", "@sallyport/proto/sallyport/audit/v1/audit"],
    ["services/gateway/tests/fixtures/platform.ts", "../../../../infra/local/nats/permissions.ts"],
  ])("%s may import %s", (path, specifier) => {
    expect(broken(boundaries, path, `import { x } from "${specifier}";`)).toEqual([]);
  });
});

describe("a dashboard asks only for metrics that somebody defines", () => {
  const sources = [
    { path: "services/audit/src/metrics.ts", text: 'histogram("sallyport_log_lag_seconds", "Lag.");' },
    { path: "services/audit/tests/metrics.test.ts", text: 'counter("sallyport_made_up_total");' },
  ];
  const broken = (text: string) => unknownMetrics(sources, [{ path: "alerts.yml", text }]).map(({ line }) => line);

  test("by its name, or by a part of a histogram", () => {
    expect(broken("x\nsum(rate(sallyport_log_lag_seconds_bucket[5m]))")).toEqual([]);
    expect(broken("x\nsum(rate(sallyport_log_lags_seconds_bucket[5m]))")).toEqual([2]);
    expect(broken("sallyport_made_up_total")).toEqual([1]);
  });
});
