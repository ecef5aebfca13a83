/** docker-compose.yml as Compose reads it: merges done, variables replaced by their defaults. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { REPOSITORY } from "../../local/home.ts";

export interface Mount {
  source: string;
  target: string;
}

export interface Service {
  image: string;
  command?: string[];
  user: string;
  read_only: boolean;
  init: boolean;
  cap_drop: string[];
  security_opt: string[];
  tmpfs: string[];
  stop_grace_period: string;
  mem_limit: string;
  cpus: number;
  pids_limit: number;
  ports?: string[];
  networks: string[];
  environment?: Record<string, string>;
  secrets?: Mount[];
  configs?: Mount[];
  volumes?: string[];
  healthcheck?: { test: string[] };
  profiles?: string[];
  privileged?: boolean;
  network_mode?: string;
  cap_add?: string[];
}

export interface ComposeFile {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  secrets: Record<string, { file: string }>;
  configs: Record<string, { file: string }>;
}

/** `variables` replaces `${NAME}`; what is not in it gets its default. Throws for one that must be set and is not. */
export function readComposeFile(variables: Readonly<Record<string, string>>): ComposeFile {
  const file = parse(readFileSync(join(REPOSITORY, "docker-compose.yml"), "utf8"), { merge: true });
  return JSON.parse(JSON.stringify(file), (_, value) => (typeof value === "string" ? filled(value, variables) : value));
}

function filled(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g, (_, name: string, kind?: string, rest?: string) => {
    const value = variables[name] ?? (kind === "-" ? rest : undefined);
    if (value === undefined) throw new Error(`${name} must be set: ${rest}`);
    return value;
  });
}

/** Path in the container of everything that is mounted as a file → its source's file on the host. */
export function mountedFiles({ secrets = [], configs = [] }: Service, file: ComposeFile): Map<string, string> {
  const at = (target: string, folder: string) => (target.startsWith("/") ? target : `${folder}/${target}`);
  return new Map([
    ...secrets.map(({ source, target }) => [at(target, "/run/secrets"), file.secrets[source]!.file] as const),
    ...configs.map(({ source, target }) => [at(target, ""), file.configs[source]!.file] as const),
  ]);
}
