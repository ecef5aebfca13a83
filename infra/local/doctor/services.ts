/** The seven services and the issuer: ready, on the same time, and on ports that nobody else has. */
import { join } from "node:path";
import { CLOCK_SKEW_MS } from "@sallyport/attestation";
import { readJson } from "../files.ts";
import { portList } from "../ports.ts";
import type { ChildRecord } from "../process/lock.ts";
import { away, type Finding, fail, ok, type Subject, said, summed, warn } from "./finding.ts";
import { listeners, processName } from "./sockets.ts";

const probeTimeoutMs = 3_000;
/** A Date header has whole seconds. */
const dateResolutionMs = 1_000;

interface Answer {
  name: string;
  skewMs: number | undefined;
  problem: string | undefined;
}

export async function examineServices(subject: Subject): Promise<Finding[]> {
  const health = Object.entries(subject.endpoints?.health ?? {});
  if (health.length === 0) return [away({ ...subject, running: false }, "services", "")];
  const answers = await Promise.all(health.map(([name, url]) => probe(name, `${url}/readyz`)));
  if (!subject.running && answers.every(({ problem }) => problem)) return [away(subject, "services", "")];
  const faults = answers
    .filter(({ problem }) => problem !== undefined)
    .map(({ name, problem }) =>
      fail(
        "services",
        `${name} is not ready: ${problem}`,
        `Look at logs/${name}.jsonl of the home; \`sallyport status\` tells more.`,
      ),
    );
  return [...summed("services", faults, `${answers.length} are ready`), ...clockFindings(answers)];
}

async function probe(name: string, url: string): Promise<Answer> {
  try {
    const before = Date.now();
    const response = await fetch(url, { signal: AbortSignal.timeout(probeTimeoutMs) });
    const after = Date.now();
    const { checks = {} } = (await response.json()) as { checks?: Record<string, string> };
    const wrong = Object.entries(checks).filter(([, value]) => value !== "ok");
    const problem = response.ok
      ? undefined
      : wrong.map(([check, value]) => `${check}: ${value}`).join(", ") || "no reason";
    return { name, problem, skewMs: skewOf(response.headers.get("date"), before, after) };
  } catch (error) {
    return { name, problem: `no answer (${said((error as Error).cause ?? error)})`, skewMs: undefined };
  }
}

/** How far its clock is from ours at least, whatever part of a second and of the way the header leaves open. */
export function skewOf(date: string | null, beforeMs: number, afterMs: number): number | undefined {
  const at = Date.parse(date ?? "");
  if (Number.isNaN(at)) return undefined;
  if (at > afterMs) return at - afterMs;
  return Math.max(0, beforeMs - (at + dateResolutionMs));
}

/** Statements of a clock that is off by more than `CLOCK_SKEW_MS` are refused. */
export function clockFindings(answers: readonly Pick<Answer, "name" | "skewMs">[]): Finding[] {
  const known = answers.filter(({ skewMs }) => skewMs !== undefined);
  if (known.length === 0) return [];
  const mend = "Set the clocks by NTP (chrony, systemd-timesyncd) on every machine.";
  const faults = known.flatMap(({ name, skewMs }) => {
    const what = `the clock of ${name} is off by ${(skewMs! / 1_000).toFixed(1)} s; more than ${CLOCK_SKEW_MS / 1_000} s is refused`;
    if (skewMs! > CLOCK_SKEW_MS) return [fail("clocks", what, mend)];
    return skewMs! > CLOCK_SKEW_MS / 2 ? [warn("clocks", what, mend)] : [];
  });
  return summed("clocks", faults, `${known.length} services are on this machine's time`);
}

/** Running: each port is one of ours. Down: each is free for the next start. */
export async function examinePorts({ home, ports, running }: Subject): Promise<Finding[]> {
  const ours = new Set((readJson<ChildRecord[]>(join(home.runDir, "children.json")) ?? []).map(({ pid }) => pid));
  const found = listeners();
  if (!found) return [{ check: "ports", level: "unknown", what: "who listens is known on Linux only" }];
  const list = portList(ports);
  const taken = list.filter(({ port }) => {
    const pid = found.get(port);
    return pid !== undefined && !(running && (pid === 0 || ours.has(pid)));
  });
  const faults = taken.map(({ name, port }) => {
    const pid = found.get(port)!;
    const who = pid === 0 ? "another user's process" : `${processName(pid)} (process ${pid})`;
    return fail(
      "ports",
      `${port} (${name}) is taken by ${who}`,
      "Stop it, or move the block: npm start -- --port-base 17080.",
    );
  });
  const [low, high] = [Math.min(...list.map(({ port }) => port)), Math.max(...list.map(({ port }) => port))];
  return summed("ports", faults, `${low} to ${high} are ${running ? "the platform's" : "free"}`);
}

export async function examineIssuer(subject: Subject): Promise<Finding[]> {
  const { endpoints } = subject;
  if (!endpoints) return [away({ ...subject, running: false }, "issuer", "")];
  const url = `${endpoints.issuer}/jwks`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(probeTimeoutMs) });
    const { keys } = (await response.json()) as { keys?: unknown[] };
    if (!response.ok || !Array.isArray(keys) || keys.length === 0)
      throw new Error(`status ${response.status}, no keys`);
    return [ok("issuer", `${keys.length} keys at ${url}`)];
  } catch (error) {
    return [away(subject, "issuer", `no keys for access tokens at ${url}: ${said((error as Error).cause ?? error)}`)];
  }
}
