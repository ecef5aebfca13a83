/** Boots the whole platform, all seven services, with the same code that `npm start` uses, in a home of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Platform, startPlatform } from "@sallyport/infra/platform";
import OpenAI from "openai";

export type Person = "user" | "reviewer" | "operator" | "approver" | "auditor" | "outsider";

export interface TestPlatform extends AsyncDisposable {
  readonly platform: Platform;
  token(person: Person): string;
  openai(person?: Person): OpenAI;
  /** A plain HTTP call to the OpenAI-compatible API; body as given when it is a string. */
  http(
    path: string,
    init?: { method?: string; body?: unknown; person?: Person; headers?: Record<string, string>; token?: string },
  ): Promise<Response>;
}

/** Port blocks of 100, apart for test files that run at the same time. */
const blocks = { e2e: 21_000, fault: 22_000, kills: 23_000, cli: 24_000 } as const;

export async function bootPlatform(block: keyof typeof blocks): Promise<TestPlatform> {
  const home = mkdtempSync(join(tmpdir(), `sallyport-${block}-`));
  const platform = await startPlatform({
    home,
    portBase: blocks[block],
    log: process.env.SALLYPORT_TEST_VERBOSE ? console.error : () => {},
  });
  return wrap(platform, home);
}

export function wrap(platform: Platform, home: string): TestPlatform {
  const token = (person: Person) => platform.token(person);
  const { gatewayHttp, openaiBaseUrl } = platform.endpoints;
  return {
    platform,
    token,
    openai: (person = "user") =>
      new OpenAI({ baseURL: openaiBaseUrl, apiKey: token(person), maxRetries: 0, timeout: 60_000 }),
    http: (path, { method = "POST", body, person = "user", headers = {}, token: given } = {}) =>
      fetch(`${gatewayHttp}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${given ?? token(person)}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      }),
    async [Symbol.asyncDispose]() {
      await platform.stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export const model = "pilot-text";
export { grpcClients } from "./clients.ts";
export { mint } from "./tokens.ts";
