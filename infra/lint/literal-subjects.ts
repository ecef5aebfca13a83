import { coreSubjects, streams } from "@sallyport/proto/subjects";
import { codeLines, isTest, type SourceFile, type Violation } from "./source-files.ts";

const declaredIn = "proto/subjects.ts";
const patterns = [
  ...Object.values(streams).flatMap(({ subjects }) => [...subjects]),
  ...Object.values(coreSubjects).map(({ pattern }) => pattern),
];
/** First token → how many tokens its subjects have. */
const lengths = new Map<string, number>(patterns.map((pattern) => [first(pattern), pattern.split(".").length]));

/** A subject is written down once, in proto/subjects.ts, so that permissions and code cannot drift apart. */
export function literalSubjects({ path, text }: SourceFile): Violation[] {
  if (path === declaredIn || isTest(path)) return [];
  return codeLines(text).flatMap(({ line, code }) =>
    literals(code)
      .filter(isSubject)
      .map((literal) => ({
        path,
        line,
        message: `the subject ${literal} is written out: take it from ${declaredIn}`,
      })),
  );
}

function literals(code: string): string[] {
  return [...code.matchAll(/"([^"\\]*)"|'([^'\\]*)'|`([^`\\]*)`/g)].map(([, one, two, three]) => one ?? two ?? three!);
}

/** As many tokens as declared, or open at the end (`>`); a placeholder is one token. Policy actions and ids have fewer or more. */
function isSubject(literal: string): boolean {
  const tokens = literal.replaceAll(/\$\{[^}]*\}/g, "x").split(".");
  const length = lengths.get(tokens[0]!);
  if (length === undefined || tokens.length < 2) return false;
  return tokens.length === length || tokens.at(-1) === ">";
}

function first(pattern: string): string {
  return pattern.split(".")[0]!;
}
