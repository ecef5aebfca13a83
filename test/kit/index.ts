/** Boots the whole platform, all seven services, with the same code that `npm start` uses, in a home of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Platform, type PlatformOptions, startPlatform } from "@sallyport/infra/platform";
import OpenAI from "openai";
import { type Ports, portsFrom } from "../../infra/local/ports.ts";

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
const blocks = {
  chat: 20_000,
  doors: 20_500,
  input: 21_000,
  policy: 21_500,
  models: 19_500,
  fault: 22_000,
  kills: 23_000,
  cli: 24_000,
  bus: 25_000,
  database: 26_000,
  mutual: 27_000,
  forgery: 28_000,
  state: 29_000,
  seeds: 18_000,
  peers: 17_500,
  client: 30_000,
  doctor: 31_000,
  rotation: 18_500,
  fuzz: 16_500,
  telemetry: 16_000,
  metrics: 15_500,
  limits: 15_000,
  fairness: 13_500,
  switches: 14_500,
  identity: 14_000,
  collector: 12_500,
} as const;

/** Which services to start and with what environment; the rest is as `npm start` has it. */
export type BootOptions = Pick<
  PlatformOptions,
  "services" | "pilotModel" | "extraEnv" | "policyBundleDir" | "remoteEndpoints"
> & {
  /** Called with the empty home; what it returns is disposed of once the platform has stopped. */
  prepare?: (home: string) => Disposable;
};

/** Where the platform of a block listens, known before it is started. */
export function portsOf(block: keyof typeof blocks): Ports {
  return portsFrom(blocks[block]);
}

export async function bootPlatform(
  block: keyof typeof blocks,
  { prepare, ...options }: BootOptions = {},
): Promise<TestPlatform> {
  const home = mkdtempSync(join(tmpdir(), `sallyport-${block}-`));
  using undo = new DisposableStack();
  undo.defer(() => leave(home));
  if (prepare) undo.use(prepare(home));
  const platform = await startPlatform({
    home,
    portBase: blocks[block],
    ...options,
    log: process.env.SALLYPORT_TEST_VERBOSE ? console.error : () => {},
  });
  return wrap(platform, undo.move());
}

function leave(home: string): void {
  if (!process.env.SALLYPORT_TEST_KEEP) rmSync(home, { recursive: true, force: true });
}

/** `left`: disposed of once it has stopped. */
export function wrap(platform: Platform, left: Disposable): TestPlatform {
  const token = (person: Person) => platform.token(person);
  const { gatewayHttp } = platform.endpoints;
  return {
    platform,
    token,
    openai: (person = "user") =>
      new OpenAI({ baseURL: gatewayHttp, apiKey: token(person), maxRetries: 0, timeout: 60_000 }),
    http: (path, { method = "POST", body, person = "user", headers = {}, token: given } = {}) =>
      fetch(new URL(path, gatewayHttp), {
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
      left[Symbol.dispose]();
    },
  };
}

export { type BusUser, connectAs } from "./bus-user.ts";
export {
  type Ask,
  Call,
  chatByGrpc,
  chatModel as model,
  type HeardEvent,
  type HeardWindow,
  type Via,
} from "./caller.ts";
export { chatByHttp, chatBySse } from "./caller-http.ts";
export { type ChatServer, startChatServer } from "./chat-server.ts";
export { grpcClients } from "./clients.ts";
export { query } from "./database.ts";
export { type Disk, mountDisk, noDiskBecause } from "./disk.ts";
export * from "./intruder.ts";
export * from "./ledger.ts";
export { grpcMiddle, httpMiddle, type Middle, type Tampering } from "./middle.ts";
export { brake, freeze, isAlive, isFrozen, processesNamed, processTree } from "./processes.ts";
export { type Direction, startProxy, type TcpProxy } from "./proxy.ts";
export * from "./review.ts";
export { serveSlowModel, slowModel, slowStory, startSlowServer } from "./slow-model.ts";
export { mint } from "./tokens.ts";
