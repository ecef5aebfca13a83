/** A platform that things can happen to: each connection through a proxy, bus and database on small disks, clocks that can be set. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import {
  bootPlatform,
  type Disk,
  grpcClients,
  mountDisk,
  noDiskBecause,
  portsOf,
  type TestPlatform,
} from "../../kit/index.ts";
import { AuditLog } from "../support/log.ts";
import { type Clocks, prepareClocks } from "./clocks.ts";
import { type Links, startLinks } from "./links.ts";
import type { Pause } from "./switch-faults.ts";

export interface World extends AsyncDisposable {
  /** Its endpoints for callers lead through the proxies. */
  readonly sallyport: TestPlatform;
  readonly clients: ReturnType<typeof grpcClients>;
  readonly log: AuditLog;
  readonly links: Links;
  readonly clocks: Clocks;
  /** Or why there are none. */
  readonly disks: Readonly<Record<"nats" | "postgres", Disk>> | string;
  /** What was ever paused, oldest first. */
  readonly pauses: Pause[];
}

/** Short, so that what is lost is made up for within a schedule. */
const patience = { REQUEST_DEADLINE: "15s", STALL_TIMEOUT: "4s", DOOR1_DEADLINE: "1500ms", REDISPATCH_AFTER: "2s" };
const worker = { ENGINE_STALL_TIMEOUT: "3s" };
const diskMegabytes = { nats: 160, postgres: 320 } as const;

export async function createWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const links = stack.use(await startLinks(portsOf("seeds")));
  const clockDir = mkdtempSync(join(tmpdir(), "sallyport-clocks-"));
  stack.defer(() => rmSync(clockDir, { recursive: true, force: true }));
  const clocks = prepareClocks(clockDir);
  let disks: World["disks"] = noDiskBecause() ?? "not mounted yet";
  const own: Partial<Record<ServiceName, Record<string, string>>> = { gateway: patience, "inference-worker": worker };
  const envOf = (service: ServiceName) => ({
    ...links.extraEnv[service],
    ...clocks.extraEnv[service],
    ...own[service],
  });
  const direct = await bootPlatform("seeds", {
    extraEnv: Object.fromEntries(services.map((service) => [service, envOf(service)])),
    prepare(home) {
      const mounts = new DisposableStack();
      if (noDiskBecause() === undefined) disks = mountDisks(home, mounts);
      return mounts;
    },
  });
  stack.use(direct);
  const sallyport = throughProxies(direct, links);
  const clients = stack.use(grpcClients(sallyport.platform));
  const log = new AuditLog(sallyport, clients);
  const running = stack.move();
  return {
    sallyport,
    clients,
    log,
    links,
    clocks,
    disks,
    pauses: [],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** On the folders in which the runner keeps their data; a machine that cannot says why. */
function mountDisks(home: string, mounts: DisposableStack): World["disks"] {
  const images = join(home, "disks");
  mkdirSync(images, { recursive: true });
  try {
    const mount = (part: "nats" | "postgres") =>
      mounts.use(mountDisk(join(home, part), join(images, part), diskMegabytes[part]));
    return { nats: mount("nats"), postgres: mount("postgres") };
  } catch (error) {
    return `this machine mounts no disk: ${(error as Error).message.split("\n")[0]}`;
  }
}

function throughProxies(direct: TestPlatform, { gateway }: Links): TestPlatform {
  const endpoints = {
    ...direct.platform.endpoints,
    gatewayHttp: `http://127.0.0.1:${gateway.http}/v1`,
    gatewayGrpc: `127.0.0.1:${gateway.grpc}`,
  };
  return { ...direct, platform: { ...direct.platform, endpoints } };
}
