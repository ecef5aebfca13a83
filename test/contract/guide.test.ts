import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errorCodes } from "@sallyport/runtime";
import { expect, test } from "vitest";
import { outcomes } from "../../services/gateway/src/domain/outcomes.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const read = (...path: string[]) => readFileSync(join(repository, ...path), "utf8");
const errorsPage = read("docs", "guide", "errors.md");

test("every code of errors, of the gateway's outcomes and of the default policy is explained", () => {
  const { config } = JSON.parse(read("packages", "policy", "bundles", "default", "data.json")) as {
    config: { codes: Record<string, unknown> };
  };
  const codes = [...errorCodes, ...Object.keys(outcomes), ...Object.keys(config.codes)];
  expect(codes.filter((code) => !errorsPage.includes(`\`${code}\``))).toEqual([]);
});

test("links between pages of docs lead somewhere", () => {
  const folders = [
    "docs",
    "docs/guide",
    "docs/design",
    ...["services", "packages"].flatMap(foldersIn),
    "infra",
    "test",
  ];
  const pages = ["README.md", ...folders.flatMap((folder) => pagesIn(folder))];
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => join(page, "..", target!))
      .filter((target) => !exists(target))
      .map((target) => `${page} → ${target}`),
  );
  expect(pages.length).toBeGreaterThan(20);
  expect(broken).toEqual([]);
});

function foldersIn(folder: string): string[] {
  return readdirSync(join(repository, folder)).map((name) => join(folder, name));
}

function pagesIn(...folder: string[]): string[] {
  try {
    return readdirSync(join(repository, ...folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(...folder, name));
  } catch {
    return [];
  }
}

function exists(path: string): boolean {
  try {
    readdirSync(join(repository, path));
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOTDIR";
  }
}
