const POLL_MS = 50;
const PROBE_TIMEOUT_MS = 2_000;

/**
 * Waits until each health address answers /readyz with 200, and names the checks that `expected` has for it (a model that
 * was approved a moment ago, which a worker may not know yet). Rejects with what is not ready and why.
 */
export async function waitReady(
  health: Readonly<Record<string, string>>,
  timeoutMs: number,
  expected: Readonly<Record<string, readonly string[]>> = {},
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  const problems = await Promise.all(
    Object.entries(health).map(([name, url]) => untilReady(name, url, expected[name] ?? [], deadline)),
  );
  const left = problems.filter((problem) => problem !== undefined);
  if (left.length > 0) throw new Error(`not ready within ${timeoutMs / 1000} s: ${left.join("; ")}`);
}

async function untilReady(
  name: string,
  url: string,
  expected: readonly string[],
  deadline: number,
): Promise<string | undefined> {
  let last = "no answer";
  while (Date.now() < deadline) {
    const problem = await problemOf(url, expected).catch((error: Error) => error.message);
    if (problem === undefined) return undefined;
    last = problem;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return `${name} (${last})`;
}

async function problemOf(url: string, expected: readonly string[]): Promise<string | undefined> {
  const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  const body = await response.text();
  const { checks = {} } = JSON.parse(body) as { checks?: Record<string, string> };
  const missing = expected.filter((check) => !(check in checks));
  if (response.status === 200) return missing.length > 0 ? `${missing.join(", ")}: not known yet` : undefined;
  const wrong = Object.entries(checks).filter(([, state]) => state !== "ok");
  return wrong.map(([check, state]) => `${check}: ${state}`).join(", ") || `status ${response.status}`;
}
