/**
 * Everything that a span may say: the keys, and for each what a value looks like. A key that is not here cannot be written,
 * and a value that does not fit is left out, so no prompt, output, token or key can get into a trace. Names follow the
 * OpenTelemetry semantic conventions (gen_ai.*, rpc.*, http.*, messaging.*); `sallyport.*` is ours.
 */
type Kind = (value: unknown) => boolean;

const matches =
  (form: RegExp): Kind =>
  (value) =>
    typeof value === "string" && form.test(value);
const oneOf =
  (...values: readonly string[]): Kind =>
  (value) =>
    typeof value === "string" && values.includes(value);
const number: Kind = (value) => typeof value === "number" && Number.isFinite(value);
const listOf =
  (kind: Kind): Kind =>
  (value) =>
    Array.isArray(value) && value.length <= 8 && value.every(kind);
/** Of ours: a model, a stream, a method. No blanks, so no text. */
const name = matches(/^[\w.:/*=-]{1,80}$/);
const code = matches(/^[A-Z][A-Z0-9_]{0,47}$/);
const id = matches(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const digest = matches(/^[0-9a-f]{64}$/);

export const finishReasons = ["stop", "length"] as const;

export const spanVocabulary = {
  "gen_ai.operation.name": oneOf("chat"),
  "gen_ai.provider.name": oneOf("sallyport", "llama", "remote"),
  "gen_ai.request.model": name,
  "gen_ai.request.max_tokens": number,
  "gen_ai.request.temperature": number,
  "gen_ai.request.top_p": number,
  "gen_ai.response.finish_reasons": listOf(oneOf(...finishReasons)),
  "gen_ai.usage.input_tokens": number,
  "gen_ai.usage.output_tokens": number,
  "rpc.system": oneOf("grpc"),
  "rpc.service": name,
  "rpc.method": name,
  "http.request.method": oneOf("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
  "http.route": matches(/^[\w/.:*-]{1,80}$/),
  "http.response.status_code": number,
  "messaging.system": oneOf("nats"),
  "messaging.destination.name": name,
  "messaging.operation.type": oneOf("send", "process"),
  "messaging.operation.name": oneOf("publish", "process"),
  "messaging.consumer.group.name": name,
  "error.type": code,
  "sallyport.request.id": id,
  "sallyport.attempt": number,
  "sallyport.delivery": number,
  "sallyport.window.index": number,
  "sallyport.windows": number,
  "sallyport.stage": oneOf("door1", "door2", "review", "countersign", "worker", "gateway"),
  "sallyport.decision": oneOf("allow", "sanitise", "hold", "deny", "fail", "cancel"),
  "sallyport.code": code,
  "sallyport.category": matches(/^[a-z][a-z0-9_./-]{0,47}$/),
  "sallyport.state": oneOf("queued", "running", "held", "released", "blocked", "failed", "cancelled"),
  "sallyport.model.digest": digest,
  "sallyport.policy.digest": digest,
  "sallyport.log.index": number,
} as const satisfies Record<string, Kind>;

export type SpanKey = keyof typeof spanVocabulary;
export type SpanValue = string | number | readonly string[];
export type SpanAttributes = { readonly [Key in SpanKey]?: SpanValue | undefined };

const spanNameForm = /^[\w.:/*= -]{1,120}$/;

/** Those that fit. */
export function fittingAttributes(attributes: SpanAttributes): Record<string, SpanValue> {
  const fitting: Record<string, SpanValue> = {};
  for (const [key, value] of Object.entries(attributes)) if (fits(key, value)) fitting[key] = value as SpanValue;
  return fitting;
}

export function fits(key: string, value: unknown): boolean {
  return Object.hasOwn(spanVocabulary, key) && spanVocabulary[key as SpanKey](value);
}

export function fittingName(text: string): string {
  return spanNameForm.test(text) ? text : "other";
}
