import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chamber, flows } from "../../flows.ts";
import { REPOSITORY } from "../../local/home.ts";
import { prepare } from "../prepare.ts";
import { type ComposeFile, mountedFiles, readComposeFile, type Service } from "./compose-file.ts";

const home = mkdtempSync(join(tmpdir(), "sallyport-compose-"));
const issuers = JSON.stringify([{ issuer: "https://id.example", audience: "a", jwksUri: "https://id.example/jwks" }]);
const variables = { SALLYPORT_HOME: home, OIDC_ISSUERS: issuers };
let file: ComposeFile;

beforeAll(async () => {
  await prepare(home);
  file = readComposeFile(variables);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The two one-shot tools and whom each provisions: not in the table, because they are gone once the platform runs. */
const tools = [
  ["provision-bus", "nats"],
  ["provision-database", "postgres"],
];
const pairOf = (a: string, b: string) => [a, b].sort().join(" – ");

function sharing(): Set<string> {
  const names = Object.keys(file.services);
  const meet = (a: string, b: string) =>
    file.services[a]!.networks.some((network) => file.services[b]!.networks.includes(network));
  return new Set(names.flatMap((a) => names.filter((b) => b !== a && meet(a, b)).map((b) => pairOf(a, b))));
}

describe("networks", () => {
  test("who has a flow shares a network, and nobody else does", () => {
    const present = (party: string) => party in file.services;
    const wanted = flows.filter(({ from, to }) => present(from) && present(to)).map(({ from, to }) => pairOf(from, to));
    expect(sharing()).toEqual(new Set([...wanted, ...tools.map(([a, b]) => pairOf(a!, b!))]));
  });

  test("every network is internal, but those that lead out have one member each, and only who has such a flow", () => {
    const members = (network: string) =>
      Object.keys(file.services).filter((name) => file.services[name]!.networks.includes(network));
    const leadOut = Object.keys(file.networks).filter((name) => file.networks[name]!.internal !== true);
    for (const network of leadOut) expect(members(network), network).toHaveLength(1);
    const outside = flows
      .filter(({ from, to }) => from === "client" || to === "issuer")
      .map(({ from, to }) => (from === "client" ? to : from));
    expect(new Set(leadOut.flatMap(members))).toEqual(new Set(outside));
    for (const network of Object.keys(file.networks))
      expect(members(network).length, `${network} is used`).toBeGreaterThan(0);
  });

  test("the chamber is on internal networks alone, with the bus alone", () => {
    for (const party of chamber) {
      const networks = file.services[party]?.networks ?? [];
      for (const network of networks) expect(file.networks[network], network).toEqual({ internal: true });
    }
    expect([...sharing()].filter((pair) => pair.includes("inference-worker"))).toEqual([
      pairOf("inference-worker", "nats"),
    ]);
  });

  test("the gateway alone publishes ports, on loopback unless it is told otherwise", () => {
    const publishing = Object.entries(file.services).filter(([, { ports }]) => ports);
    expect(publishing.map(([name]) => name)).toEqual(["gateway"]);
    for (const port of publishing[0]![1].ports!) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

test("every container is hardened and bounded", () => {
  for (const [name, service] of Object.entries(file.services)) {
    expect(service, name).toMatchObject({ read_only: true, init: true, cap_drop: ["ALL"], user: "10001:10001" });
    expect(service.security_opt, name).toEqual(["no-new-privileges:true"]);
    for (const field of ["privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "env_file"])
      expect(service, `${name} ${field}`).not.toHaveProperty(field);
    expect(service.mem_limit, name).toMatch(/^\d+[mg]$/);
    expect(service.pids_limit, name).toBeGreaterThan(0);
    expect(service.cpus, name).toBeGreaterThan(0);
    expect(Number.parseInt(service.stop_grace_period, 10), name).toBeGreaterThanOrEqual(10);
    expect(
      service.tmpfs.some((mount) => mount.startsWith("/tmp:") && mount.includes("noexec")),
      name,
    ).toBe(true);
    for (const volume of service.volumes ?? []) expect(volume, name).not.toContain("docker.sock");
  }
  for (const name of services) expect(file.services[name]!.healthcheck!.test.join(" "), name).toContain("/readyz");
});

describe("configuration", () => {
  test.each(services.map((service) => [service]))(
    "%s gets every variable that it requires, and none that it does not read",
    async (name) => {
      const service = file.services[name]!;
      const { readConfig } = (await import(`../../../services/${name}/src/config.ts`)) as {
        readConfig: (source: Readonly<Record<string, string | undefined>>) => object;
      };
      const read = new Set<string>();
      const source = new Proxy(onHost(service), {
        get: (target, variable: string) => {
          read.add(variable);
          return target[variable];
        },
      });
      // Throws one error that names every variable at fault.
      expect(readConfig(source)).toBeDefined();
      const forNode = ["NODE_ENV", "TZ"];
      expect(
        Object.keys(service.environment!).filter((variable) => !read.has(variable) && !forNode.includes(variable)),
      ).toEqual([]);
    },
  );

  /** The environment with the paths that its files, mounted in the container, have on this host. */
  function onHost(service: Service): Record<string, string> {
    const files = mountedFiles(service, file);
    const folders = { "/models": join(home, "models"), "/app": REPOSITORY };
    const translate = (value: string) => {
      for (const [inside, outside] of Object.entries(folders))
        if (value === inside || value.startsWith(`${inside}/`)) return outside + value.slice(inside.length);
      return files.get(value) ?? value;
    };
    return Object.fromEntries(Object.entries(service.environment!).map(([key, value]) => [key, translate(value)]));
  }
});

describe("files", () => {
  test("prepare makes every file that is mounted", () => {
    for (const [name, { file: path }] of Object.entries({ ...file.secrets, ...file.configs })) {
      // The operator brings a token of the company's own issuer.
      if (name === "operator-token") continue;
      expect(existsSync(join(path.startsWith("/") ? "" : REPOSITORY, path)), path).toBe(true);
    }
  });

  test("a service gets its own secrets and nobody else's; what is secret is mounted as a secret", () => {
    for (const name of services as readonly ServiceName[]) {
      const service = file.services[name]!;
      const foreign = services.filter((other) => other !== name).flatMap((other) => [`${other}.`, `-${other}`]);
      for (const { source } of service.secrets ?? []) {
        const base = basename(file.secrets[source]!.file);
        expect(
          foreign.filter((part) => base.startsWith(part) || base.replace(/\.nk$/, "").endsWith(part)),
          `${name}: ${base}`,
        ).toEqual([]);
      }
      for (const { source } of service.configs ?? []) expect(file.configs[source]!.file).toMatch(/\.(crt|json|pub)$/);
    }
    const used = Object.values(file.services).flatMap(({ secrets = [] }) => secrets.map(({ source }) => source));
    expect(new Set(used)).toEqual(new Set(Object.keys(file.secrets)));
    for (const { file: path } of Object.values(file.secrets)) expect(path).not.toContain("/operator/");
  });

  test("bus and database show certificates for the names that they are called by, and find their files", () => {
    for (const name of ["nats", "postgres"]) {
      const certificate = new X509Certificate(readFileSync(join(home, "pki", `${name}.crt`)));
      expect(certificate.checkHost(name)).toBe(name);
    }
    const mounted = mountedFiles(file.services.nats!, file);
    const config = readFileSync(join(home, "nats", "nats-server.conf"), "utf8");
    for (const [, path] of config.matchAll(/_file: "(.*)"/g)) expect([...mounted.keys()]).toContain(path);
    const flags = file.services.postgres!.command!.join(" ");
    for (const [, path] of flags.matchAll(/_file=(\S+)/g))
      expect([...mountedFiles(file.services.postgres!, file).keys()]).toContain(path);
  });
});

describe("Compose itself reads the file", () => {
  const check = composeCheck();
  if (typeof check === "string") console.warn(`skipped: reading docker-compose.yml with Compose: ${check}`);

  test.skipIf(typeof check === "string")("and takes it, with every profile", { timeout: 180_000 }, () => {
    const [program, args] = check as [string, string[]];
    const env = { ...process.env, ...variables };
    const { status, stderr } = spawnSync(program, [...args], { env, cwd: REPOSITORY, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const { OIDC_ISSUERS: _, ...without } = env;
    const refused = spawnSync(program, [...args], { env: without, cwd: REPOSITORY, encoding: "utf8" });
    expect(refused.stderr).toContain("OIDC_ISSUERS");
    expect(refused.status).not.toBe(0);
  });
});

/** The compose plugin, or compose-go's own loader built with Go; why there is neither otherwise. */
function composeCheck(): [string, string[]] | string {
  if (spawnSync("docker", ["compose", "version"]).status === 0)
    return ["docker", ["compose", "--profile", "*", "config", "--quiet"]];
  const source = join(REPOSITORY, "infra/docker/check");
  if (spawnSync("go", ["version"]).error !== undefined) return "there is neither the compose plugin nor Go";
  const program = join(home, "compose-check");
  const download = spawnSync("go", ["mod", "download"], { cwd: source, timeout: 60_000 });
  if (download.status !== 0) return "Go cannot fetch compose-go";
  const built = spawnSync("go", ["build", "-o", program, "."], { cwd: source, encoding: "utf8", timeout: 170_000 });
  if (built.status !== 0) throw new Error(`compose-check was not built: ${built.stderr}`);
  return [program, [join(REPOSITORY, "docker-compose.yml")]];
}
