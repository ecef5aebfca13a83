/**
 * Somebody who broke into a service: has its bus credentials and what its encryption key opens, but not its signing key.
 * Makes verdicts that look right in everything but what only the signing key could give.
 */
import { createPrivateKey, type KeyObject, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { jetstream } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import {
  createSigner,
  createStatement,
  decodeStatement,
  type Envelope,
  encodeStatement,
  envelopeDigest,
  type KeyStage,
  type Predicate,
  type RequestSecret,
  STATEMENT_PAYLOAD_TYPE,
  saltedDigest,
  seal,
  signEnvelope,
} from "@sallyport/attestation";
import type { Platform } from "@sallyport/infra/platform";
import { VerdictMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { Decision } from "@sallyport/proto/sallyport/moderation/v1/moderation";
import { type ServiceName, subjects } from "@sallyport/proto/subjects";
import { connectionOptions } from "../../infra/local/nats/provisioner.ts";
import { GATEWAY_ID } from "../../infra/local/services.ts";
import { signingKeyFile } from "../../infra/local/trust.ts";
import { type CommittedWindow, committedWindows, type LedgerRow, readRequest, secretOf } from "./ledger.ts";

/** What the intruder knows of a request: all that its service knew. */
export interface Scene {
  readonly row: LedgerRow;
  readonly secret: RequestSecret;
  readonly windows: readonly CommittedWindow[];
  /** Index of the window that is due next. */
  readonly next: number;
}

export async function lookAt(platform: Platform, requestId: string): Promise<Scene> {
  const row = (await readRequest(platform, requestId))!;
  const windows = await committedWindows(platform, row);
  return { row, secret: await secretOf(platform, row), windows, next: windows.length };
}

export class Intruder implements AsyncDisposable {
  readonly #nc: NatsConnection;

  private constructor(nc: NatsConnection) {
    this.#nc = nc;
  }

  static async as(service: ServiceName, { home, ports }: Platform): Promise<Intruder> {
    return new Intruder(await connect(connectionOptions(home, ports.nats, service)));
  }

  /** Resolves once the stream has it: the bus itself does not stop who has the credentials. */
  async put<Desc extends DescMessage>(subject: string, schema: Desc, message: MessageInitShape<Desc>): Promise<void> {
    await this.putBytes(subject, toBinary(schema, create(schema, message)));
  }

  async putBytes(subject: string, bytes: Uint8Array | string): Promise<void> {
    await jetstream(this.#nc).publish(subject, bytes, { msgID: randomUUID() });
  }

  /** A verdict on the request, as door 2 would send it. */
  async sendVerdict({ row, secret, next }: Scene, forged: ForgedVerdict): Promise<void> {
    const { envelope, content, decision = Decision.ALLOW, index = next, attempt = row.attempt, final = false } = forged;
    const place = { requestId: row.id, kind: "verdict" as const, attempt, index };
    const sealed = content ? seal(secret, place, content) : new Uint8Array();
    const window = { decision, envelope, content: sealed, final };
    const body = { case: "window" as const, value: window };
    const subject = subjects.verdict(GATEWAY_ID, row.id);
    await this.put(subject, VerdictMessageSchema, { requestId: row.id, attempt, index, body });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nc.close();
  }
}

export interface ForgedVerdict {
  envelope: Envelope;
  content?: Uint8Array;
  decision?: Decision;
  index?: number;
  attempt?: number;
  final?: boolean;
}

export function contentOf(text: string): Uint8Array {
  return toBinary(WindowContentSchema, create(WindowContentSchema, { text }));
}

/** Door 2's statement that would release `content` as the next window, with whatever `change` makes of it. */
export function statementFor(
  { row, secret, windows, next }: Scene,
  content: Uint8Array,
  change: Partial<Predicate> = {},
) {
  const last = windows.at(-1)!;
  const { predicate } = decodeStatement(last.envelope.payload);
  const issuedAt = new Date();
  const body: Predicate = {
    ...predicate,
    requestId: row.id,
    index: next,
    prev: envelopeDigest(last.envelope),
    final: false,
    issuedAt: issuedAt.toISOString(),
    expiresAt: new Date(issuedAt.getTime() + 60_000).toISOString(),
    ...change,
  };
  return createStatement({ name: "output", digest: saltedDigest(secret.salt, content) }, body);
}

/** Signs whatever it is given, whichever stage the key is for; `keyid` claims another key. */
export function signAs(
  key: KeyObject,
  stage: KeyStage,
  statement: ReturnType<typeof createStatement>,
  keyid?: string,
): Envelope {
  const envelope = signEnvelope(STATEMENT_PAYLOAD_TYPE, encodeStatement(statement), createSigner(key, stage));
  return keyid === undefined ? envelope : { ...envelope, signatures: [{ ...envelope.signatures[0]!, keyid }] };
}

export function signingKeyOf({ home }: Platform, service: ServiceName): KeyObject {
  return createPrivateKey(readFileSync(signingKeyFile(home, service)));
}
