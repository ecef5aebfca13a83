import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { buckets, type StreamSpec, streams } from "@sallyport/proto/subjects";
import { bucketConfig, type SubjectPermissions } from "@sallyport/runtime/provisioning";
import { writeWhole } from "../files.ts";
import type { Home } from "../home.ts";
import { certificateFiles } from "../pki.ts";
import { type BusUser, busUsers, OPERATOR, permissionsOf } from "./permissions.ts";

const ACCOUNT = "SALLYPORT";
const MEBIBYTE = 1024 * 1024;
const MAX_PAYLOAD_BYTES = 4 * MEBIBYTE;
const MAX_MEMORY_STORE_BYTES = 512 * MEBIBYTE;
const MAX_FILE_STORE_BYTES = 8_192 * MEBIBYTE;

/** File with a user's nkey seed, made at the first call. The operator's lies with the operator's other keys. */
export function seedFile(home: Home, user: BusUser): string {
  const file = join(user === OPERATOR ? home.operatorDir : home.secretsDir, `nats-${user}.nk`);
  if (!existsSync(file)) newSeed(file);
  return file;
}

/** Where the seed waits that is to take over: the server takes it beside the one in use. */
export function nextSeedFile(home: Home, user: BusUser): string {
  return seedFile(home, user).replace(/\.nk$/, ".next.nk");
}

export function newSeed(file: string): void {
  writeWhole(file, `${new TextDecoder().decode(createUser().getSeed())}\n`);
}

function configFile(home: Home): string {
  return join(home.natsDir, "nats-server.conf");
}

/** Folder of JetStream's files. */
export function storeDir(home: Home): string {
  return join(home.natsDir, "data");
}

/** Where the server listens and finds its files, as it sees them itself. */
export interface ServerPlace {
  readonly listen: string;
  /** Of /healthz and its like, where somebody asks. */
  readonly monitor?: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly storeDir: string;
}

/** A server of this machine's own, on loopback. */
function localPlace(home: Home, port: number): ServerPlace {
  return { listen: `127.0.0.1:${port}`, ...certificateFiles(home, "nats"), storeDir: storeDir(home) };
}

/** False when a stream's own file is missing; that of a consumer may be there, as a server makes it when it is needed. */
export function hasStreams(store: string): boolean {
  const kept = Object.values<StreamSpec>(streams).filter(({ storage }) => storage === "file");
  const names = [...kept.map(({ name }) => name), ...Object.values(buckets).map((bucket) => bucketConfig(bucket).name)];
  return names.every((name) => existsSync(join(store, "jetstream", ACCOUNT, "streams", name, "meta.inf")));
}

/** Writes the server's configuration: TLS with client certificates, one user a service with its own subjects. */
export function writeConfig(home: Home, port: number, gatewayId: string, place = localPlace(home, port)): string {
  const { listen, monitor, cert, key, ca } = place;
  const users = busUsers.flatMap((user) =>
    [seedFile(home, user), nextSeedFile(home, user)]
      .filter(existsSync)
      .map((seed) => userBlock(user, publicKey(seed), permissionsOf(user, gatewayId))),
  );
  const text = `# Generated from proto/subjects.ts and infra/flows.ts at every start: edit those.
server_name: sallyport-local
listen: ${JSON.stringify(listen)}
${monitor === undefined ? "" : `http: ${JSON.stringify(monitor)}\n`}max_payload: ${MAX_PAYLOAD_BYTES}
tls {
  cert_file: ${JSON.stringify(cert)}
  key_file: ${JSON.stringify(key)}
  ca_file: ${JSON.stringify(ca)}
  verify: true
  timeout: 5
}
jetstream {
  store_dir: ${JSON.stringify(place.storeDir)}
  max_memory_store: ${MAX_MEMORY_STORE_BYTES}
  max_file_store: ${MAX_FILE_STORE_BYTES}
}
accounts {
  ${ACCOUNT} {
    jetstream: enabled
    users: [
${users.join("\n")}
    ]
  }
  SYS {}
}
system_account: SYS
`;
  const file = configFile(home);
  writeWhole(file, text);
  return file;
}

function publicKey(seed: string): string {
  return fromSeed(new TextEncoder().encode(readFileSync(seed, "utf8").trim())).getPublicKey();
}

function userBlock(user: string, nkey: string, { publish, subscribe }: SubjectPermissions): string {
  // An empty allow list would allow everything.
  const list = (subjects: readonly string[]) =>
    subjects.length === 0 ? `{ deny: [">"] }` : `{ allow: ${JSON.stringify(subjects)} }`;
  return `      # ${user}
      { nkey: ${nkey}, permissions: { publish: ${list(publish)}, subscribe: ${list(subscribe)} } }`;
}
