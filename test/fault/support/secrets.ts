/** Looks for what must never be in a log: tokens, keys, prompts and answers of everything that ran. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Platform } from "@sallyport/infra/platform";
import type { Evidence } from "./evidence.ts";

export interface Leaks {
  /** Secrets that were looked for. */
  readonly searched: number;
  /** Lines of logs. */
  readonly lines: number;
  /** What was found and where; never the secret itself. */
  readonly leaks: readonly string[];
}

export interface Secret {
  readonly what: string;
  readonly text: string;
}

/** Shorter ones would be found by chance. */
const shortest = 12;

/** `more`: what else must not be there. */
export function findSecrets(platform: Platform, evidence: readonly Evidence[], more: readonly Secret[] = []): Leaks {
  const all = [...tokens(platform), ...keys(platform), ...evidence.flatMap(ofRequests), ...more];
  const secrets = [
    ...new Map(all.filter(({ text }) => text.length >= shortest).map((one) => [one.text, one])).values(),
  ];
  const { logsDir } = platform.home;
  let lines = 0;
  const leaks = readdirSync(logsDir).flatMap((name) => {
    const log = readFileSync(join(logsDir, name), "utf8");
    lines += log.split("\n").length;
    return secrets.filter(({ text }) => log.includes(text)).map(({ what }) => `${what} in ${name}`);
  });
  return { searched: secrets.length, lines, leaks: [...new Set(leaks)] };
}

const people = ["user", "reviewer", "operator", "approver", "auditor", "outsider"];

function tokens(platform: Platform): Secret[] {
  return people.map((person) => {
    const token = platform.token(person);
    // Its signature alone is enough to tell it, whatever part was logged.
    return { what: `access token of ${person}`, text: token.split(".").at(-1)! };
  });
}

/** Every file of the home that holds a secret, by lines: seeds, passwords, PEM bodies. */
function keys({ home }: Platform): Secret[] {
  const folders = [home.secretsDir, home.keysDir, home.operatorDir, home.pkiDir];
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !/\.(crt|pub)$/.test(entry.name) && entry.name !== "trust-state.json")
      .flatMap((entry) => {
        const lines = readFileSync(join(entry.parentPath, entry.name), "utf8").split("\n");
        const bodies = lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("-----"));
        return bodies.map((text) => ({ what: `secret ${entry.name}`, text }));
      }),
  );
}

function ofRequests({ secrets, transcripts, fetched }: Evidence): Secret[] {
  const dataKeys = [...secrets.values()].flatMap(({ key, salt }) =>
    [key, salt].flatMap((bytes) =>
      (["hex", "base64", "base64url"] as const).map((encoding) => ({
        what: "a request's data key or salt",
        text: Buffer.from(bytes).toString(encoding).replace(/=+$/, ""),
      })),
    ),
  );
  const heard = [
    ...transcripts.flatMap(({ windows }) => windows.map(({ text }) => text)),
    ...fetched.map(({ text }) => text),
  ];
  const answers = heard.map((text) => ({ what: "an answer", text: text.trim().slice(0, 40) }));
  const prompts = transcripts.map(({ prompt }) => ({ what: "a prompt", text: prompt }));
  return [...dataKeys, ...answers, ...prompts];
}
