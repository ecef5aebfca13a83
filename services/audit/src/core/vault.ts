/** The content vault: keeps requests' keys under the master key and opens bodies. It decides nothing about who may. */
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type DecryptionKeys, open, type RequestSecret, saltedDigest, unwrapSecret } from "@sallyport/attestation";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { AppError, type Logger, type Queryable } from "@sallyport/runtime";
import { recordAt } from "../db/read.ts";
import { findKey, newestBodies, type StoredBody, type WrappedKey } from "../db/vault.ts";
import type { Body } from "../domain/event.ts";
import type { MasterKeys } from "../domain/master-key.ts";

export interface Vault {
  /** Wraps a request's secret anew under the master key; what cannot be opened now is kept as it came. */
  rewrap(jwe: string, requestId: string): Promise<WrappedKey>;
  /**
   * The plaintext of the newest prompt or output. NOT_FOUND when there is none, or its key was erased; INTERNAL when it
   * is not what the log's record says it is.
   */
  open(db: Queryable, requestId: string, kind: Body["kind"]): Promise<Uint8Array>;
}

/** `masters`: those of now, asked for at each use. */
export function createVault(masters: () => MasterKeys, encryptionKey: DecryptionKeys, log: Logger): Vault {
  async function secretOf(key: WrappedKey, requestId: string): Promise<RequestSecret> {
    if (key.wrapping === "master") return masters().byId(key.masterId).unwrap(key.wrapped, requestId);
    return unwrapSecret(Buffer.from(key.wrapped).toString(), encryptionKey, requestId);
  }

  return {
    async rewrap(jwe, requestId) {
      try {
        const secret = await unwrapSecret(jwe, encryptionKey, requestId);
        const { newest } = masters();
        return { wrapping: "master", wrapped: newest.wrap(secret, requestId), masterId: newest.id };
      } catch (err) {
        // The record must not wait for the vault, and the key must not be lost: it may open under an older key.
        const digest = createHash("sha256").update(jwe).digest("hex");
        log.error({ err, requestId, digest }, "a request's key does not open; it is kept as it came");
        return { wrapping: "jwe", wrapped: new Uint8Array(Buffer.from(jwe)) };
      }
    },

    async open(db, requestId, kind) {
      const bodies = await newestBodies(db, requestId, kind);
      if (bodies.length === 0)
        throw new AppError("NOT_FOUND", "the vault has no such body", { reason: "BODY_NOT_FOUND" });
      const key = await findKey(db, requestId);
      if (key === undefined) throw new AppError("NOT_FOUND", "the body was erased", { reason: "BODY_ERASED" });
      try {
        const secret = await secretOf(key, requestId);
        const opened = bodies.map((body) => openBody(secret, requestId, body));
        await checkDigest(db, secret, bodies, opened);
        return joinBodies(opened);
      } catch (cause) {
        throw new AppError("INTERNAL", "the body cannot be opened", { reason: "BODY_DAMAGED", cause });
      }
    },
  };
}

function openBody(secret: RequestSecret, requestId: string, { context, attempt, index, ciphertext }: StoredBody) {
  return open(secret, { requestId, kind: context, attempt, index }, ciphertext);
}

/** A reader must see the bytes that were judged: their salted digest is in the record that they came with. */
async function checkDigest(db: Queryable, secret: RequestSecret, bodies: StoredBody[], opened: Uint8Array[]) {
  const { kind, context, recordIndex } = bodies[0]!;
  // A window's digest is in its ticket, not in the record; the AEAD context still binds it to its place.
  if (context === "verdict") return;
  const record = await recordAt(db, recordIndex);
  const { digests } = JSON.parse(Buffer.from(record?.json ?? []).toString()) as {
    digests?: { request?: unknown; output?: unknown };
  };
  const expected = kind === "prompt" ? digests?.request : digests?.output;
  if (opened.length !== 1 || saltedDigest(secret.salt, opened[0]!) !== expected)
    throw new Error("not what was recorded");
}

/** A released output is in windows: read as one, with what the last of them says about its end. */
function joinBodies(opened: Uint8Array[]): Uint8Array {
  if (opened.length === 1) return opened[0]!;
  const windows = opened.map((bytes) => fromBinary(WindowContentSchema, bytes));
  const text = windows.map((window) => window.text).join("");
  const sanitised = windows.some((window) => window.sanitised);
  return toBinary(WindowContentSchema, create(WindowContentSchema, { ...windows.at(-1)!, text, sanitised }));
}
