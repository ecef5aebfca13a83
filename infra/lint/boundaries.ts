import { posix } from "node:path";
import { services } from "@sallyport/proto/subjects";
import { codeLines, isTest, type SourceFile, type Violation } from "./source-files.ts";

/**
 * Services are processes that meet on the wire: none imports another, nor may a package, whose code would then be part of
 * one. What runs in production imports neither tests nor the runner.
 */
export function boundaries({ path, text }: SourceFile): Violation[] {
  return codeLines(text).flatMap(({ line, code }) =>
    imported(code)
      .map((specifier) => ({ specifier, fault: faultOf(path, resolve(path, specifier)) }))
      .filter(({ fault }) => fault !== undefined)
      .map(({ specifier, fault }) => ({ path, line, message: `imports ${specifier}: ${fault}` })),
  );
}

function imported(code: string): string[] {
  return [...code.matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\()["']([^"']+)["']/g)].map(([, specifier]) => specifier!);
}

/** Where in the repository an import leads: relative paths, and our own packages by name. */
function resolve(path: string, specifier: string): string {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(path), specifier);
  const [, name, rest = ""] = /^@sallyport\/([^/]+)(\/.*)?$/.exec(specifier) ?? [];
  if (name === undefined) return specifier;
  if ((services as readonly string[]).includes(name)) return `services/${name}${rest}`;
  return ["proto", "infra", "models", "test"].includes(name) ? `${name}${rest}` : `packages/${name}${rest}`;
}

function faultOf(from: string, to: string): string | undefined {
  const [own, other] = [serviceOf(from), serviceOf(to)];
  if (other !== undefined && own !== other && (own !== undefined || from.startsWith("packages/")))
    return "a service is reached over the bus or gRPC, not by import";
  if (isTest(from) || !/^(services|packages)\//.test(from)) return undefined;
  if (isTest(to)) return "production code does not import tests";
  // The operator's command line is where an installation is looked after.
  if (from.startsWith("packages/cli/")) return undefined;
  return to.startsWith("infra/") ? "a service does not know what runs it" : undefined;
}

function serviceOf(path: string): string | undefined {
  return /^services\/([^/]+)/.exec(path)?.[1];
}
