import { type Json, parseCanonical } from "@sallyport/attestation";
import { type AuditEvent, BodyKind } from "@sallyport/proto/sallyport/audit/v1/audit";
import { type ServiceName, services, streams, subjects } from "@sallyport/proto/subjects";
import { leafHash, maxEntryBytes } from "@sallyport/tlog";

/** Where an event stands in its producer's own numbering. */
export interface Place {
  readonly producer: ServiceName;
  readonly epoch: string;
  readonly sequence: number;
}

export interface Body {
  readonly kind: "prompt" | "output";
  readonly context: "prompt" | "verdict" | "output";
  readonly attempt: number;
  readonly index: number;
  readonly ciphertext: Uint8Array;
}

/** An event that may become a record. `record` is the leaf, byte for byte. */
export interface LogEvent {
  readonly place: Place;
  readonly event: string;
  readonly requestId: string | undefined;
  /** Whose record it is: what the record says of itself, or its actor's; undefined: the platform's own. */
  readonly tenant: string | undefined;
  readonly terminal: boolean;
  readonly record: Uint8Array;
  readonly leaf: Uint8Array;
  readonly bodies: readonly Body[];
  /** The request's secret, wrapped to the vault (compact JWE). */
  readonly jwe: string | undefined;
}

/** `place` is known when the event can be told apart from others of its producer, however wrong it is otherwise. */
export type Reading =
  | { readonly ok: true; readonly event: LogEvent }
  | { readonly ok: false; readonly reason: string; readonly place: Place | undefined };

const firstSequence = 1;
const maxBodies = 4_096;
const aeadOverheadBytes = 28;
const tokenForm = /^[A-Za-z0-9_-]{1,64}$/;
const eventForm = /^[a-z]{1,32}\.[a-z][a-z-]{0,31}$/;
const tenantForm = /^[a-z0-9][a-z0-9-]{0,63}$/;
const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const contexts = new Map<BodyKind, readonly Body["context"][]>([
  [BodyKind.PROMPT, ["prompt"]],
  [BodyKind.OUTPUT, ["verdict", "output"]],
]);
const producers: readonly string[] = streams.AUDIT.writers;

/**
 * Reads an event that came on `subject`. Only the bus knows who sent it (each service may publish under its own name
 * alone), so an event that names another producer has no place, and is nobody's.
 */
export function readEvent(message: AuditEvent, subject: string): Reading {
  const place = readPlace(message, subject);
  if (place === undefined) return { ok: false, reason: "PLACE_INVALID", place };
  try {
    return { ok: true, event: readParts(message, place, subject) };
  } catch (error) {
    return { ok: false, reason: error instanceof Poison ? error.message : "RECORD_NOT_CANONICAL", place };
  }
}

/** The id under which an event travels, and under which it is confirmed. */
export function messageIdOf({ producer, epoch, sequence }: Place): string {
  return `${producer}.${epoch}.${sequence}`;
}

class Poison extends Error {}

function refuseIf(wrong: boolean, reason: string): void {
  if (wrong) throw new Poison(reason);
}

function readPlace({ producer, epoch, sequence }: AuditEvent, subject: string): Place | undefined {
  const isOwn = subject.split(".")[1] === producer && producers.includes(producer);
  const isNumbered = sequence >= BigInt(firstSequence) && sequence <= BigInt(Number.MAX_SAFE_INTEGER);
  if (!isOwn || !isNumbered || !tokenForm.test(epoch)) return undefined;
  return { producer: services.find((service) => service === producer)!, epoch, sequence: Number(sequence) };
}

function readParts(message: AuditEvent, place: Place, subject: string): LogEvent {
  refuseIf(message.record.length > maxEntryBytes, "RECORD_TOO_LONG");
  const record = parseCanonical(message.record);
  refuseIf(!isObject(record), "RECORD_NOT_OBJECT");
  const { v, event, producer, epoch, sequence, time, request, tenant, actor } = record as { [name: string]: Json };
  refuseIf(v !== 1, "RECORD_VERSION");
  refuseIf(typeof event !== "string" || !eventForm.test(event), "RECORD_EVENT");
  refuseIf(subject !== subjects.audit(place.producer, event as string), "RECORD_SUBJECT");
  const isSame = producer === place.producer && epoch === place.epoch && sequence === place.sequence;
  refuseIf(!isSame, "RECORD_PLACE");
  refuseIf(typeof time !== "string" || !timeForm.test(time) || Number.isNaN(Date.parse(time)), "RECORD_TIME");
  const requestId = readRequestId(message, request);
  return {
    place,
    event: event as string,
    requestId,
    tenant: readTenant(tenant, actor),
    terminal: message.terminal,
    record: message.record,
    leaf: leafHash(message.record),
    bodies: readBodies(message),
    jwe: message.vaultSecret?.jwe,
  };
}

function readTenant(own: Json | undefined, actor: Json | undefined): string | undefined {
  const found = own ?? (actor !== undefined && isObject(actor) ? actor.tenant : undefined);
  refuseIf(found !== undefined && (typeof found !== "string" || !tenantForm.test(found)), "RECORD_TENANT");
  return found as string | undefined;
}

function readRequestId({ requestId, terminal, bodies, vaultSecret }: AuditEvent, request: Json | undefined) {
  if (request === undefined) {
    refuseIf(requestId !== "" || terminal || bodies.length > 0 || vaultSecret !== undefined, "RECORD_REQUEST");
    return undefined;
  }
  refuseIf(!tokenForm.test(requestId) || !isObject(request), "RECORD_REQUEST");
  refuseIf((request as { id?: Json }).id !== requestId, "RECORD_REQUEST");
  return requestId;
}

function readBodies({ bodies, vaultSecret }: AuditEvent): Body[] {
  refuseIf(vaultSecret !== undefined && vaultSecret.service !== "audit", "SECRET_NOT_FOR_VAULT");
  refuseIf(bodies.length > maxBodies, "BODIES_TOO_MANY");
  const read = bodies.map(({ kind, context, attempt, index, ciphertext }): Body => {
    const known = contexts.get(kind)?.find((name) => name === context);
    if (known === undefined) throw new Poison("BODY_CONTEXT");
    refuseIf(ciphertext.length < aeadOverheadBytes, "BODY_TOO_SHORT");
    refuseIf(attempt > 0x7fffffff || index > 0x7fffffff, "BODY_CONTEXT");
    const name = kind === BodyKind.PROMPT ? "prompt" : "output";
    return { kind: name, context: known, attempt, index, ciphertext };
  });
  const places = read.map(({ context, attempt, index }) => `${context}/${attempt}/${index}`);
  refuseIf(new Set(places).size !== places.length, "BODY_TWICE");
  return read;
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
