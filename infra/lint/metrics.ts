import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isTest, type SourceFile, type Violation } from "./source-files.ts";

/** Who asks for metrics by name. */
const askers = ["infra/grafana/panels", "infra/prometheus"];

/** A dashboard that asks for a metric which nobody defines stays empty, and an alert on it stays silent. */
export function unknownMetrics(
  sources: readonly SourceFile[],
  askedIn: readonly { readonly path: string; readonly text: string }[],
): Violation[] {
  const defined = new Set(
    sources
      .filter(({ path }) => /^(packages|services)\/[^/]+\/src\//.test(path) && !isTest(path))
      .flatMap(({ text }) => [...text.matchAll(/\b(sallyport_[a-z0-9_]+)\b/g)].map(([name]) => name)),
  );
  return askedIn.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) =>
      [...line.matchAll(/\b(sallyport_[a-z0-9_]+)\b/g)]
        .map(([name]) => name)
        .filter((name) => !defined.has(name) && !defined.has(name.replace(/_(bucket|sum|count)$/, "")))
        .map((name) => ({ path, line: index + 1, message: `no service defines the metric ${name}` })),
    ),
  );
}

export function readAskers(repository: string) {
  return askers
    .flatMap((folder) => readdirSync(join(repository, folder)).map((name) => `${folder}/${name}`))
    .map((path) => ({ path, text: readFileSync(join(repository, path), "utf8") }));
}
