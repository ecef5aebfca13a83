/**
 * Makes what docker-compose.yml mounts: certificates, keys, trust bundle, the bus's users and configuration, passwords. Again
 * at any time: it makes what is missing or about to end, and keeps the rest.
 *
 *     node infra/docker/prepare.ts [FOLDER]        default: $SALLYPORT_HOME or .sallyport-compose
 *
 * The operator's own keys lie in FOLDER/operator: no container gets them; keep them elsewhere afterwards.
 */
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { writeWhole } from "../local/files.ts";
import { type Home, openHome, REPOSITORY } from "../local/home.ts";
import { seedFile, writeConfig } from "../local/nats/config.ts";
import { busUsers } from "../local/nats/permissions.ts";
import { ensureCertificates } from "../local/pki.ts";
import { databaseServices, passwordFile, SUPERUSER } from "../local/postgres/cluster.ts";
import { GATEWAY_ID, vaultMasterKeyFile } from "../local/services.ts";
import { ensureTrust } from "../local/trust.ts";

const natsPort = 4222;
/** Who the containers run as, and thus who must be able to read their files. */
const containerUid = Number(process.env.SALLYPORT_UID ?? 10_001);

export async function prepare(folder: string, now = new Date()): Promise<Home> {
  const home = openHome(folder);
  await ensureCertificates(home, now);
  ensureTrust(home, now);
  for (const user of busUsers) seedFile(home, user);
  for (const role of [SUPERUSER, ...databaseServices]) passwordFile(home, role);
  vaultMasterKeyFile(home);
  // As the server sees it from inside its container.
  writeConfig(home, natsPort, GATEWAY_ID, {
    listen: `0.0.0.0:${natsPort}`,
    monitor: "127.0.0.1:8222",
    cert: "/run/config/nats.crt",
    key: "/run/secrets/nats.key",
    ca: "/run/config/ca.crt",
    storeDir: "/data",
  });
  mkdirSync(join(home.natsDir, "data"), { recursive: true, mode: 0o700 });
  mkdirSync(join(home.modelsDir, "sha256"), { recursive: true, mode: 0o755 });
  writeWhole(join(home.root, "operator-endpoints.json"), `${JSON.stringify(operatorEndpoints, null, 2)}\n`, 0o644);
  return home;
}

/** What the operator's container reaches. */
const operatorEndpoints = {
  governanceGrpc: "governance:7000",
  auditGrpc: "audit:7000",
  nats: "tls://nats:4222",
  ca: "pki/ca.crt",
  trustBundle: "trust/bundle.json",
  trustRoot: "trust/root.pub",
  health: {},
};

/** As root: everything but the operator's folder belongs to the containers' user. */
function handOver({ root, operatorDir }: Home): void {
  const walk = (path: string): void => {
    if (path === operatorDir) return;
    chownSync(path, containerUid, containerUid);
    if (statSync(path).isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
  };
  walk(root);
  chmodSync(root, 0o711);
}

if (import.meta.main) {
  const folder = process.argv[2] ?? process.env.SALLYPORT_HOME ?? join(REPOSITORY, ".sallyport-compose");
  const home = await prepare(resolve(folder));
  const uid = process.getuid?.();
  if (uid === 0) handOver(home);
  console.log(`ready: ${home.root}`);
  if (uid !== 0 && uid !== containerUid)
    console.log(`start with SALLYPORT_UID=${uid}, so that the containers may read it`);
}
