/** Whether the worker really has no way out: on a laptop nothing holds it but its own code. */
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { readJson } from "../files.ts";
import type { ChildRecord } from "../process/lock.ts";
import { away, type Finding, ok, type Subject, warn } from "./finding.ts";

const mend = "For real use run the chamber where the network holds it: docker-compose.yml or Kubernetes.";

export function examineChamber(subject: Subject): Finding[] {
  const children = readJson<ChildRecord[]>(join(subject.home.runDir, "children.json")) ?? [];
  const worker = children.find(({ name }) => name === "inference-worker");
  if (!subject.running || !worker) return [away({ ...subject, running: false }, "chamber", "")];
  try {
    if (networkOf(worker.pid) !== networkOf("self")) return [ok("chamber", "the worker has a network of its own")];
  } catch {
    // No /proc here: then it is certainly no namespace.
  }
  return [
    warn("chamber", "the worker shares this machine's network: nothing stops it from opening a connection", mend),
  ];
}

function networkOf(pid: number | "self"): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}
