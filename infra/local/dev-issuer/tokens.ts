import { join } from "node:path";
import { writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import { API_RESOURCE, type DevClient, readClients } from "./clients.ts";

const REQUEST_TIMEOUT_MS = 5_000;
const RETRY_MS = 5_000;
/** Renewed when this part of a token's life is over. */
const RENEW_AT = 0.5;

/** `credentials/<name>.token`: a bearer token and nothing else, mode 0600. */
export function tokenFile(home: Home, name: string): string {
  return join(home.credentialsDir, `${name}.token`);
}

export interface TokenKeeper {
  stop(): void;
}

/** Writes a token for every client of the dev issuer, and again before they expire. Rejects when the first round fails. */
export async function keepTokens(
  home: Home,
  issuer: string,
  clientsFile: string,
  report: (line: string) => void,
): Promise<TokenKeeper> {
  const clients = readClients(clientsFile);
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  async function round(): Promise<void> {
    const lives = await Promise.all(clients.map((client) => writeToken(home, issuer, client)));
    if (!stopped) timer = setTimeout(later, Math.min(...lives) * RENEW_AT).unref();
  }
  function later(): void {
    round().catch((error: Error) => {
      report(`tokens could not be renewed: ${error.message}`);
      if (!stopped) timer = setTimeout(later, RETRY_MS).unref();
    });
  }
  await round();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** Returns the token's life in ms. */
async function writeToken(home: Home, issuer: string, client: DevClient): Promise<number> {
  const { token, lifeMs } = await requestToken(issuer, client);
  writeWhole(tokenFile(home, client.id), token);
  return lifeMs;
}

/** Client credentials grant (RFC 6749 4.4) for the platform's API. */
async function requestToken(issuer: string, client: DevClient): Promise<{ token: string; lifeMs: number }> {
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource: API_RESOURCE, scope: "api" }),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`the dev issuer answered ${response.status} for ${client.id}`);
  const { access_token, expires_in } = (await response.json()) as { access_token: string; expires_in: number };
  return { token: access_token, lifeMs: expires_in * 1_000 };
}
