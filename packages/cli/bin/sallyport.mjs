#!/usr/bin/env node
// Plain JavaScript, so that any Node 20 or newer can start it. The command itself is TypeScript and runs on the Node 24
// that npm installed with the repository.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const modules = fileURLToPath(new URL("../../../node_modules", import.meta.url));

if (Number(process.versions.node.split(".")[0]) >= 24) await import(main);
else runOn(findNode24());

function findNode24() {
  const { platform, arch } = process;
  const places = [`node-${platform}-${arch}/bin/node`, `node-bin-${platform}-${arch}/bin/node`, ".bin/node"];
  return places.map((place) => join(modules, place)).find(existsSync);
}

function runOn(node) {
  if (node === undefined) {
    console.error("sallyport: Node 24 is not installed here. Run `npm install` in the repository first.");
    process.exitCode = 1;
    return;
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => child.kill(name));
  child.once("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 1);
  });
}
