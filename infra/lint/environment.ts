import { codeLines, isTest, type SourceFile, type Violation } from "./source-files.ts";

/** Where a process begins: these read the environment, what they call gets it as a value. */
const readers = new Map([
  // Before there is a configuration: the level of the first log line, and who started the process.
  ["packages/runtime/src/lifecycle.ts", /process\.env/],
  ["packages/cli/src/io.ts", /process\.env/],
]);
const handsOver = /\breadConfig\(process\.env\)/;

/** A service reads its environment in config.ts alone; main.ts hands it over. The runner and tools are no services. */
export function environment({ path, text }: SourceFile): Violation[] {
  if (!/^(services|packages)\/[^/]+\/src\//.test(path) || isTest(path)) return [];
  const allowed = /^services\/[^/]+\/src\/main\.ts$/.test(path) ? handsOver : readers.get(path);
  return codeLines(text)
    .filter(({ code }) => /\bprocess\.env\b/.test(code) && !allowed?.test(code))
    .map(({ line }) => ({ path, line, message: "reads process.env: only config.ts does, through readEnv" }));
}
