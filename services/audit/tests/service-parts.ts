/** The service's parts on a database of their own, without the bus: for tests of what happens between them. */
import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from "node:crypto";
import { type EncryptionKey, type RequestSecret, wrapSecret } from "@sallyport/attestation";
import type { AuditEvent } from "@sallyport/proto/sallyport/audit/v1/audit";
import { createLogger, systemClock } from "@sallyport/runtime";
import type { TestDatabase } from "@sallyport/runtime/testing";
import { signatureType, verifierKeyOf } from "@sallyport/tlog";
import { createAppender } from "../src/core/appender.ts";
import { createHeads } from "../src/core/heads.ts";
import { openLog } from "../src/core/open-log.ts";
import { createVault } from "../src/core/vault.ts";
import { readMasterKeys } from "../src/domain/master-key.ts";
import { logEvent } from "../src/handlers/log-event.ts";
import { auditDatabase, testSigner } from "./database.ts";
import { subjectOf } from "./events.ts";

export const origin = "log.example/audit";

export async function serviceParts(target?: TestDatabase) {
  const db = await auditDatabase(target);
  const log = createLogger("audit", "error");
  const signer = testSigner(origin);
  const writer = { signer, epoch: randomUUID() };
  const heads = createHeads(db);
  const clock = systemClock;
  const appender = createAppender({ db, writer, clock, log, onHead: heads.announce });
  await openLog({ db, writer, clock, appender });
  const vaultKeys = generateKeyPairSync("x25519");
  const masters = readMasterKeys(randomBytes(32).toString("hex"));
  const vault = createVault(() => masters, vaultKeys.privateKey, log);
  const confirmed: string[] = [];
  const confirmer = { confirm: (_: string, id: string) => void confirmed.push(id), [Symbol.dispose]: () => {} };
  const stop = new AbortController();
  const parts = { db, log, clock, writer, heads, appender, vault, confirmer, stopping: stop.signal };
  return {
    ...parts,
    confirmed,
    trust: { origin, keys: [verifierKeyOf(signer, signatureType.ed25519)] },
    vaultKey: vaultKeys.publicKey,
    deliver: (event: AuditEvent, subject = subjectOf(event)) => logEvent(parts, event, subject),
    async close() {
      stop.abort();
      await appender.close();
      await db.close();
    },
  };
}

export type ServiceParts = Awaited<ReturnType<typeof serviceParts>>;

/** The request's secret as the gateway wraps it for the vault. */
export async function wrapForVault(secret: RequestSecret, publicKey: KeyObject, requestId: string): Promise<string> {
  const recipient: EncryptionKey = { service: "audit", kid: "vault-1", publicKey };
  return (await wrapSecret(secret, [recipient], requestId))[0]!.jwe;
}
