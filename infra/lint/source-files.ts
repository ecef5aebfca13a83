import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** One TypeScript file: its path from the repository's root, with `/`, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

const roots = ["proto", "packages", "services", "infra", "models", "test"];
const skippedFolders = new Set(["node_modules", "gen", "dist"]);

/** Every TypeScript file of the repository that somebody wrote. */
export function readSources(repository: string): SourceFile[] {
  return roots.flatMap((root) => walk(repository, root));
}

function walk(repository: string, folder: string): SourceFile[] {
  return readdirSync(join(repository, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : walk(repository, path);
    return /\.ts$/.test(entry.name) ? [{ path, text: readFileSync(join(repository, path), "utf8") }] : [];
  });
}

/** Tests may say literally what the code must do. */
export function isTest(path: string): boolean {
  return path.startsWith("test/") || /\.test\.ts$|\/(tests|testing)(\/|$)/.test(path);
}

/** Lines of code with their numbers, without those that are comments from their start. */
export function codeLines(text: string): { line: number; code: string }[] {
  return text
    .split("\n")
    .map((code, index) => ({ line: index + 1, code }))
    .filter(({ code }) => !/^\s*(\/\/|\/?\*)/.test(code));
}
