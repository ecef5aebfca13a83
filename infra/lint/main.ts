// The rules of the house that no formatter knows. Part of `npm run lint`; prints path:line for each break of a rule.
import { fileURLToPath } from "node:url";
import { boundaries } from "./boundaries.ts";
import { environment } from "./environment.ts";
import { literalSubjects } from "./literal-subjects.ts";
import { readAskers, unknownMetrics } from "./metrics.ts";
import { readSources } from "./source-files.ts";

const rules = [literalSubjects, environment, boundaries];
const repository = fileURLToPath(new URL("../..", import.meta.url));
const sources = readSources(repository);
const violations = [
  ...sources.flatMap((source) => rules.flatMap((rule) => rule(source))),
  ...unknownMetrics(sources, readAskers(repository)),
];
for (const { path, line, message } of violations) console.error(`${path}:${line} ${message}`);
console.error(`${rules.length + 1} rules over ${sources.length} files: ${violations.length} violations`);
process.exitCode = violations.length > 0 ? 1 : 0;
